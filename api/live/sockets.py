"""The WebSocket of live metrics: who is connected, what each is pushed, and when it may listen no longer."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from typing import TypeAlias

import structlog
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from api import errors, headers, origin, peer
from api.guard import presented_in
from api.live import monitor
from api.live.aside import aside
from inference.access.door import allow
from inference.access.model import Principal, Reach, Role, Scope
from inference.clock import monotonic_s
from inference.core import Core
from inference.errors import Denied, PenstockError, ServiceNotFound, TooManyWaiting, Unauthenticated
from inference.ids import is_id
from inference.telemetry.sample import Published

log = structlog.get_logger(__name__)

LOOK_S = 1.0
SCOPE_S = 10.0
"""How often it is looked whether the services that are watched are still there."""
STALE_S = 2.5
BURST, PAUSE_S = 50, 0.005
"""So many sockets are woken at a time: a thousand at once would keep the loop from its other work."""
MOST_SOCKETS = 10_000
MOST_BAD = 100
"""Bad messages of one socket, before it is closed."""
MOST_REPLIES = 16
PROTOCOL, KEY_PROTOCOL = "penstock", "penstock.key."
"""Pages cannot send headers: they offer the subprotocols `penstock` and `penstock.key.KEY`, and get the first."""
POLICY = 1008
"""The code of a close that says: you may not."""

Caller: TypeAlias = tuple[str | None, str, str]
"""Key, address and `Host`."""
Listen: TypeAlias = Callable[[Callable[[Published], None]], Awaitable[None]]


class Socket:
    """One client. `refusal`: why it may listen no longer."""

    __slots__ = ("address", "bad", "host", "is_due", "key", "news", "refusal", "replies", "scope", "wants", "websocket")

    def __init__(self, websocket: WebSocket, key: str | None, address: str, host: str) -> None:
        self.websocket, self.key, self.address, self.host = websocket, key, address, host
        self.wants = monitor.Subscriptions()
        self.replies: deque[str] = deque()
        self.news = asyncio.Event()
        self.is_due = False
        self.bad = 0
        self.scope: Scope
        self.refusal: PenstockError | None = None

    @property
    def caller(self) -> Caller:
        """Whose it is: those of one caller are checked together."""
        return self.key, self.address, self.host

    def reply(self, text: bytes) -> None:
        """Goes out before the next figures."""
        self.replies.append(text.decode())
        self.news.set()

    def drop_gone(self, visible: Mapping[Scope, frozenset[str]]) -> None:
        """Says of each service that was deleted, or is no longer the caller's to see, that it is gone."""
        for service_id in set(self.wants.services) - visible.get(self.scope, frozenset(self.wants.services)):
            self.wants.remove([service_id], None)
            gone = ServiceNotFound(f"There is no service {service_id} any more.", id=service_id)
            self.reply(monitor.refusal(gone))


class Sockets:
    """All of this process. While there are none it listens to nothing, and costs nothing."""

    def __init__(self, core: Core, threads: Executor, listen: Listen) -> None:
        self._core = core
        self._threads = threads
        self._listen = listen
        self._open: set[Socket] = set()
        self._duties: Sequence[asyncio.Future[None]] = ()
        self._rendered: monitor.Rendered | None = None
        self._pushing: asyncio.Future[None] | None = None
        self._told_at = self._scoped_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, websocket: WebSocket) -> None:
        """From the handshake to the end. A refused handshake is an HTTP answer, as of any other call."""
        address = peer.of_asgi(websocket.scope, behind_front=self._core.settings.api.behind_front)
        socket = Socket(websocket, _key(websocket), address, websocket.headers.get("host", ""))
        service_id: str = websocket.path_params["service_id"]
        try:
            if len(self._open) >= MOST_SOCKETS:
                raise TooManyWaiting(f"{MOST_SOCKETS} sockets are open already.", limit=MOST_SOCKETS, retry_after_s=5)
            _refuse_other_sites(websocket)
            socket.scope = (await aside(self._threads, self._enter, socket, True)).scope
            await self._require([service_id], socket.scope)
        except PenstockError as error:
            answer = errors.answer(error)
            await websocket.send_denial_response(
                Response(answer.body, answer.status, {**dict(headers.ANSWER), **answer.headers}, media_type=errors.JSON)
            )
            return
        await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
        self._register(socket)
        writing = asyncio.ensure_future(self._write(socket))
        try:
            await self._read(socket, service_id)
        finally:
            self._open.discard(socket)
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await writing

    def close(self) -> None:
        """Ends the listening; sockets are closed by the server."""
        for duty in self._duties:
            duty.cancel()

    def _enter(self, socket: Socket, is_new: bool) -> Principal:
        door = self._core.door
        principal = (door.enter if is_new else door.stay)(socket.key, address=socket.address, host=socket.host)
        if is_new:
            door.count(principal)
        allow(principal, Role.VIEWER, Reach.SERVICE)
        return principal

    async def _require(self, service_ids: Sequence[str], scope: Scope) -> None:
        """Raises ServiceNotFound for the first that the caller cannot see."""
        for service_id in service_ids:
            if not is_id(service_id):
                raise ServiceNotFound(f"There is no service `{service_id[:64]}`.", id=service_id[:64])
        loop, get = asyncio.get_running_loop(), self._core.serving.services.get
        for service_id in service_ids:
            await loop.run_in_executor(self._threads, get, scope, service_id)

    def _register(self, socket: Socket) -> None:
        self._open.add(socket)
        if not self._duties:
            self._told_at = monotonic_s()
            loops = (self._listen(self._hear), self._look_while_open())
            self._duties = tuple(asyncio.ensure_future(one) for one in loops)

    async def _read(self, socket: Socket, own_id: str) -> None:
        """Until the client goes, or has said nonsense too often."""
        while True:
            message = await socket.websocket.receive()
            if message["type"] != "websocket.receive":
                return
            try:
                await self._do(socket, monitor.read(message.get("text")), own_id)
            except PenstockError as error:
                socket.bad += 1
                socket.reply(monitor.refusal(error))
                if socket.bad >= MOST_BAD:
                    socket.refusal = error
                    socket.news.set()
            while len(socket.replies) >= MOST_REPLIES:  # who does not read is not read
                await asyncio.sleep(0.05)

    async def _do(self, socket: Socket, said: monitor.Said, own_id: str) -> None:
        if said.action == "ping":
            socket.reply(monitor.PONG)
        elif said.action == "unsubscribe":
            socket.wants.remove(said.service_ids, said.metrics)
            socket.reply(socket.wants.told())
        else:
            wanted = said.service_ids or (own_id,)
            await self._require([one for one in wanted if one not in socket.wants.services], socket.scope)
            socket.wants.add(wanted, said.metrics)
            socket.reply(socket.wants.told())
            socket.is_due = True

    async def _write(self, socket: Socket) -> None:
        """The only one who sends. What is pushed while an earlier message is still on its way is not queued."""
        send = socket.websocket.send
        try:
            while True:
                await socket.news.wait()
                socket.news.clear()
                while socket.replies:
                    await send({"type": "websocket.send", "text": socket.replies.popleft()})
                if socket.refusal is not None:
                    await self._end(socket, socket.refusal)
                    return
                if socket.is_due:
                    socket.is_due = False
                    for text in self._figures(socket):
                        await send({"type": "websocket.send", "text": text})
        except (WebSocketDisconnect, RuntimeError, OSError):
            return  # the client is gone, as the reader will notice

    def _figures(self, socket: Socket) -> Sequence[str]:
        rendered = self._rendered
        if monotonic_s() - self._told_at > STALE_S:
            return [monitor.stale(rendered.at if rendered else None)] if socket.wants.services else ()
        if rendered is None:  # the first figures come within a second
            return ()
        return [rendered.message(one, metrics) for one, metrics in socket.wants.services.items()]

    async def _end(self, socket: Socket, error: PenstockError) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            await socket.websocket.send({"type": "websocket.send", "text": monitor.refusal(error).decode()})
            await socket.websocket.close(POLICY, error.code)

    def _hear(self, published: Published) -> None:
        """The seconds of the clock are pushed: those that the series show, too."""
        if published.is_whole or self._rendered is None:
            self._rendered, self._told_at = monitor.Rendered(published), monotonic_s()
            self._pushing = asyncio.ensure_future(self._push())

    async def _push(self) -> None:
        for number, socket in enumerate([one for one in self._open if one.wants.services], start=1):
            socket.is_due = True
            socket.news.set()
            if number % BURST == 0:
                await asyncio.sleep(PAUSE_S)

    async def _look_while_open(self) -> None:
        """Once a second: who may still listen, and whether figures come at all."""
        try:
            while self._open:
                await asyncio.sleep(LOOK_S)
                try:
                    await self._look()
                except Exception:
                    log.exception("look_failed")
        finally:
            duties, self._duties = self._duties, ()
            self._rendered = None
            duties[0].cancel()

    async def _look(self) -> None:
        open_ones = list(self._open)
        run = asyncio.get_running_loop().run_in_executor
        callers = {socket.caller: socket for socket in open_ones}
        found = await run(self._threads, self._check, callers)
        for socket in open_ones:
            known = found[socket.caller]
            if isinstance(known, Scope):
                socket.scope = known
            elif isinstance(known, Unauthenticated | Denied):
                socket.refusal = known
        if monotonic_s() >= self._scoped_at + SCOPE_S:
            self._scoped_at = monotonic_s()
            visible = await run(self._threads, self._visible, {socket.scope for socket in open_ones})
            for socket in open_ones:
                socket.drop_gone(visible)
        is_stale = monotonic_s() - self._told_at > STALE_S
        for socket in open_ones:
            socket.is_due |= is_stale
            if is_stale or socket.refusal is not None:
                socket.news.set()

    def _check(self, callers: Mapping[Caller, Socket]) -> Mapping[Caller, Scope | PenstockError]:
        """What each may see, or why not. On a thread."""
        found: dict[Caller, Scope | PenstockError] = {}
        for caller, socket in callers.items():
            try:
                found[caller] = self._enter(socket, False).scope
            except PenstockError as error:
                found[caller] = error
        return found

    def _visible(self, scopes: Collection[Scope]) -> Mapping[Scope, frozenset[str]]:
        """The services that are still there, by scope; nothing while the database is away. On a thread."""
        try:
            return {scope: self._core.serving.services.ids(scope) for scope in scopes}
        except PenstockError as error:
            log.debug("services_unchecked", reason=error.message)
            return {}


def _key(websocket: WebSocket) -> str | None:
    for offered in websocket.scope["subprotocols"]:
        if offered.startswith(KEY_PROTOCOL):
            return str(offered).removeprefix(KEY_PROTOCOL)
    return presented_in(websocket.headers)


def _refuse_other_sites(websocket: WebSocket) -> None:
    """A page of another site could read along with our user's address and rights. Raises CrossOrigin."""
    names = {"HTTP_SEC_FETCH_SITE": "sec-fetch-site", "HTTP_ORIGIN": "origin", "HTTP_HOST": "host"}
    said = {name: value for name, header in names.items() if (value := websocket.headers.get(header)) is not None}
    if (refusal := origin.refusal("POST", said)) is not None:
        raise refusal
