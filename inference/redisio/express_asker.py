"""The asking end of the express lane: one event loop, one subscription, a future for each that waits."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio
import structlog

from inference.errors import BacklogFull, HotUnavailable
from inference.jobs.express_model import Asked, Told
from inference.jobs.ports import Bell
from inference.redisio import tls
from inference.redisio.client import SLOTS_KEY, TOLD_CHANNEL
from inference.redisio.express import PUT, member_of, queue_key, read_answers
from inference.redisio.slots import LEASE_S, express_wake
from inference.settings import Settings

log = structlog.get_logger(__name__)

AGAIN_S = 0.2
RETRY_AFTER_S = 1
MOST_BYTES = 4_000_000
"""What one message to Redis carries at most; the rest goes with the next."""

Gone = Callable[[], "asyncio.Future[None]"]
"""A future that is done when the client has gone. Asked for only when the answer takes a while."""

WATCH_S = 0.1
Waiting = tuple[Asked, bytes, "asyncio.Future[Told]"]


class Asker:
    """For the coroutines of one loop. Requests that come while others are on their way to Redis go together next.

    Nothing runs before the first call; `close` ends it all.
    """

    def __init__(self, settings: Settings, bell: Bell) -> None:
        self._settings = settings
        self._bell = bell
        self._limit = settings.jobs.express_limit
        self._name = secrets.token_hex(8)
        self._waiting: dict[str, asyncio.Future[Told]] = {}
        self._new: list[Waiting] = []
        self._withdrawn: list[tuple[str, bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_work = asyncio.Event()
        self._hears = asyncio.Event()
        self._put = ""

    async def ask(self, asked: Asked, *, wait_s: float, gone: Gone | None = None) -> Told | None:
        """The answer; None when it did not come within `wait_s`, or `gone()` says that nobody waits any more.

        In both cases it will not be run, unless it is under way already; then nobody is told. Raises BacklogFull, and
        HotUnavailable when Redis is away, also while this waits: what becomes of it then is not known.
        """
        self._begin()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Told] = loop.create_future()
        member = member_of(asked, self._name)
        self._waiting[asked.id] = future
        self._new.append((asked, member, future))
        self._has_work.set()
        try:
            return await _first(future, gone, wait_s)
        finally:
            del self._waiting[asked.id]
            if not future.done() or future.cancelled():
                self._withdraw(asked.service_id, member)

    def __len__(self) -> int:
        return len(self._waiting)

    async def close(self) -> None:
        """Ends the subscription and what is on its way; the end of the loop does, too."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _withdraw(self, service_id: str, member: bytes) -> None:
        self._new = [waiting for waiting in self._new if waiting[1] is not member]
        self._withdrawn.append((queue_key(service_id), member))
        self._has_work.set()

    def _begin(self) -> None:
        if not self._tasks:
            for work in (self._send_for_ever, self._listen_for_ever):
                self._tasks.add(asyncio.ensure_future(work()))

    def _connect(self, **options: Any) -> "redis.asyncio.Redis":
        limits = self._settings.redis
        return redis.asyncio.Redis.from_url(
            tls.without_options(self._settings.redis_url) or "redis://127.0.0.1:6379/0",
            **tls.options(self._settings.redis_url, limits),
            socket_connect_timeout=limits.connect_timeout_s,
            socket_keepalive=True,
            **options,
        )

    # --- sending

    async def _send_for_ever(self) -> None:
        client = self._connect(socket_timeout=self._settings.redis.socket_timeout_s)
        try:
            while not _is_cancelled():
                await self._has_work.wait()
                self._has_work.clear()
                withdrawn, self._withdrawn = self._withdrawn, []
                batch = self._gather()
                try:
                    # Answers are heard from the moment of the subscription on, so that comes first.
                    async with asyncio.timeout(self._settings.redis.connect_timeout_s):
                        await self._hears.wait()
                    await self._send(client, batch, withdrawn)
                except (redis.RedisError, OSError, TimeoutError) as error:
                    _refuse(batch, f"Redis does not answer: {error}")
        finally:
            await client.aclose()

    def _gather(self) -> list[Waiting]:
        size = 0
        for place, (_, member, _) in enumerate(self._new):
            size += len(member)
            if place and size > MOST_BYTES:
                batch, self._new = self._new[:place], self._new[place:]
                self._has_work.set()
                return batch
        batch, self._new = self._new, []
        return batch

    async def _send(
        self, client: "redis.asyncio.Redis", batch: Sequence[Waiting], withdrawn: Sequence[tuple[str, bytes]]
    ) -> None:
        by_service: dict[str, list[Waiting]] = {}
        for waiting in batch:
            by_service.setdefault(waiting[0].service_id, []).append(waiting)
        if withdrawn:
            pipe = client.pipeline(transaction=False)
            for key, member in withdrawn:
                pipe.zrem(key, member)
            await pipe.execute()
        for service_id, mine in by_service.items():
            await self._send_to(client, service_id, mine)

    async def _send_to(self, client: "redis.asyncio.Redis", service_id: str, mine: Sequence[Waiting]) -> None:
        keys = [SLOTS_KEY + service_id, express_wake(service_id), queue_key(service_id)]
        slots, token = mine[0][0].slots, secrets.token_hex(8)
        arguments: list[Any] = [slots, token, LEASE_S, self._limit]
        for asked, member, _ in mine:
            arguments += (repr(asked.order_key), member)
        try:
            if not self._put:
                self._put = await client.script_load(PUT)
            count, slot = await client.evalsha(self._put, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            self._put = await client.script_load(PUT)
            count, slot = await client.evalsha(self._put, len(keys), *keys, *arguments)
        if slot >= 0:
            self._bell.deliver(service_id, slot=slot, token=token, slots=slots)
        for _, _, future in mine[count:]:
            if not future.done():
                future.set_exception(_full(service_id, self._limit))

    # --- hearing

    async def _listen_for_ever(self) -> None:
        was_away = False
        while not _is_cancelled():
            client = self._connect(health_check_interval=15)
            try:
                async with client.pubsub() as channel:
                    await channel.subscribe(TOLD_CHANNEL + self._name)
                    async for message in channel.listen():
                        self._hear(message)
                        was_away = False
            except (redis.RedisError, OSError) as error:
                self._hears.clear()
                if not was_away:
                    log.warning("answers_interrupted", reason=str(error), waiting=len(self._waiting))
                was_away = True
                self._refuse_all(f"Redis does not answer: {error}")
                await asyncio.sleep(AGAIN_S)
            finally:
                self._hears.clear()
                await client.aclose()

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._hears.set()
        if message["type"] != "message":
            return
        try:
            answers = read_answers(message["data"])
        except ValueError as error:
            log.warning("answer_unreadable", reason=str(error))
            return
        for told in answers:
            future = self._waiting.get(told.id)
            if future is not None and not future.done():
                future.set_result(told)

    def _refuse_all(self, reason: str) -> None:
        """Those that are on their way to Redis, or beyond: their answers cannot be heard any more."""
        waiting_to_go = {id(future) for _, _, future in self._new}
        for future in self._waiting.values():
            if id(future) not in waiting_to_go and not future.done():
                future.set_exception(_away(reason))


async def _first(future: "asyncio.Future[Told]", gone: Gone | None, wait_s: float) -> Told | None:
    """The answer, unless something else ends the wait first."""
    watched: list[asyncio.Future[None]] = []

    def end(_: object = None) -> None:
        future.cancel()

    def watch(gone: Gone) -> None:
        watched.append(gone())
        watched[0].add_done_callback(end)

    clock = asyncio.get_running_loop()
    timers = [clock.call_later(wait_s, end)]
    if gone is not None:
        timers.append(clock.call_later(WATCH_S, watch, gone))
    try:
        return await future
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None
    finally:
        for timer in timers:
            timer.cancel()
        for other in watched:
            other.remove_done_callback(end)
            other.cancel()


def _is_cancelled() -> bool:
    """The client of Redis may swallow a cancellation that comes while a command is on its way."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refuse(batch: Sequence[Waiting], reason: str) -> None:
    for _, _, future in batch:
        if not future.done():
            future.set_exception(_away(reason))


def _away(reason: str) -> HotUnavailable:
    return HotUnavailable(reason, part="redis", retry_after_s=RETRY_AFTER_S)


def _full(service_id: str, limit: int) -> BacklogFull:
    return BacklogFull(
        f"{limit} predictions wait for this service already; send this one again later.",
        of="service",
        waiting=limit,
        limit=limit,
        service_id=service_id,
        retry_after_s=RETRY_AFTER_S,
    )
