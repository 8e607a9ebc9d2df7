"""The hot calls of the asynchronous process: plain ASGI, before any framework.

A call is checked, read and prepared on the loop when all that it needs is known to this process; when something must be
asked of the database first, the same steps run on a thread. So the loop never stands still, and a call that needs
nothing pays for no thread.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import body, errors, headers, origin, peer
from api.figures import RequestFigures
from api.guard import presented
from api.live.aside import aside
from inference.access.door import allow
from inference.access.model import Principal, Reach, Role
from inference.core import Core
from inference.errors import PenstockError, TooManyWaiting
from inference.ids import new_id

log = structlog.get_logger()

T = TypeVar("T")

THREADS = 8
MOST_UNDER_WAY = 8_192
"""Calls of this process that are not answered yet; more are refused, so that an overload costs nobody memory."""

_ANSWER = [(name.lower().encode(), value.encode()) for name, value in headers.ANSWER]
_JSON = (b"content-type", errors.JSON.encode())


class Call:
    """One request. `body` is there when the handler runs; `principal` may submit."""

    __slots__ = ("_gone", "_receive", "address", "body", "headers", "path", "principal", "query")

    def __init__(self, scope: Scope, receive: Receive, *, behind_front: bool) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.address = peer.of_asgi(scope, behind_front=behind_front)
        self.body = b""
        self.principal: Principal
        self._receive = receive
        self._gone: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; None when it was not sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def gone(self) -> "asyncio.Future[None]":
        """Done when the client has gone. Ask only after the body is read; who asks must cancel it at the end."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._disconnected())
        return self._gone

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


Handler = Callable[..., Awaitable[errors.Answer]]
"""`await handler(call, *groups of the path)`; raises PenstockError."""


class Route:
    """A hot path. `rule`: how Flask writes it, for the metrics."""

    def __init__(self, pattern: str, rule: str, handler: Handler, *, limit_bytes: int, way_out: str = "") -> None:
        self.match = re.compile(pattern).fullmatch
        self.rule = rule
        self.handler = handler
        self.limit_bytes = limit_bytes
        self.way_out = way_out


class Fast:
    """Answers POSTs to the routes that were added, and hands all else to `inner`."""

    def __init__(self, inner: ASGIApp, core: Core) -> None:
        self._inner = inner
        self._core = core
        self._routes: list[Route] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aside")
        self._figures = RequestFigures()
        self._under_way = 0

    def add(self, route: Route) -> None:
        self._routes.append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            for route in self._routes:
                if (match := route.match(scope["path"])) is not None:
                    await self._answer(route, match.groups(), scope, receive, send)
                    return
        await self._inner(scope, receive, send)

    async def aside(self, step: Callable[..., T], *arguments: Any) -> T:
        """`aside`, on the threads of the hot calls."""
        return await aside(self._threads, step, *arguments)

    def close(self) -> None:
        """Ends the threads; calls under way are left to their fate."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(
        self, route: Route, groups: Sequence[str | Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        began_s = time.perf_counter()
        self._under_way += 1
        try:
            answer = await self._answered(route, groups, scope, receive)
        except PenstockError as error:
            answer = errors.answer(error)
            if answer.status >= 500:
                log.warning("request_refused", code=error.code, reason=error.message)
        except Exception as error:
            answer = _unforeseen(error)
        finally:
            self._under_way -= 1
        self._figures.note(route.rule, answer.status, time.perf_counter() - began_s)
        own = [_JSON, (b"content-length", b"%d" % len(answer.body)), *_ANSWER]
        own += [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": own})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answered(
        self, route: Route, groups: Sequence[str | Any], scope: Scope, receive: Receive
    ) -> errors.Answer:
        if self._under_way > MOST_UNDER_WAY:
            raise TooManyWaiting(
                f"{MOST_UNDER_WAY} requests are under way already; send this one again.",
                limit=MOST_UNDER_WAY,
                retry_after_s=1,
            )
        api = self._core.settings.api
        call = Call(scope, receive, behind_front=api.behind_front)
        _refuse_other_sites(call)
        call.principal = await self.aside(self._enter, call)
        self._core.door.count(call.principal)
        allow(call.principal, Role.SUBMITTER, Reach.SERVICE)
        kind = call.header(b"content-type") or ""
        body.refuse_packing(call.header(b"content-encoding") or "identity")
        body.refuse_form(kind)
        call.body = await _read(call, receive, route)
        body.require_json(kind, call.body, mode=self._core.settings.mode)
        return await route.handler(call, *groups)

    def _enter(self, call: Call) -> Principal:
        return self._core.door.enter(
            presented(call.header(b"authorization"), call.header(b"x-api-key")),
            address=call.address,
            host=call.header(b"host") or "",
        )


def _unforeseen(error: Exception) -> errors.Answer:
    error_id = new_id()
    log.error("request_failed", error_id=error_id, exc_info=error)
    return errors.of_the_server(500, error_id=error_id)


def _refuse_other_sites(call: Call) -> None:
    """Raises CrossOrigin."""
    if b"origin" not in call.headers and b"sec-fetch-site" not in call.headers:
        return
    told = {"HTTP_SEC_FETCH_SITE": b"sec-fetch-site", "HTTP_ORIGIN": b"origin", "HTTP_HOST": b"host"}
    environ = {name: value for name, header in told.items() if (value := call.header(header)) is not None}
    if (refusal := origin.refusal("POST", environ)) is not None:
        raise refusal


async def _read(call: Call, receive: Receive, route: Route) -> bytes:
    """The whole body. Raises TooLarge, after it took a little more off the line: else the answer may be cut off."""
    message: Message = await receive()
    text: bytes = message.get("body", b"")
    if message.get("more_body"):
        pieces, size = [text], len(text)
        while message.get("more_body") and size <= 2 * route.limit_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            piece = message.get("body", b"")
            size += len(piece)
            pieces.append(piece)
        text = b"".join(pieces)
    if len(text) > route.limit_bytes:
        said = call.header(b"content-length") or ""
        raise body.too_large(route.limit_bytes, int(said) if said.isdecimal() else None, route.way_out)
    return text
