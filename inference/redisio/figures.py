"""The newest figures of services: kept for a moment for who asks, published for who listens; and predictions told."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import msgspec
import redis
import redis.asyncio
import structlog

from inference.redisio import tls
from inference.redisio.client import FIGURES_CHANNEL, FIGURES_KEY, PREDICTED_KEY, RedisLink
from inference.redisio.raw import command, send
from inference.settings import Settings
from inference.telemetry.percentiles import Sketch
from inference.telemetry.sample import Published, Work

log = structlog.get_logger(__name__)

KEEP_S = 5
AGAIN_S = 0.5
MOST_TOLD = 10_000
"""Messages about predictions that are taken at a time; while nobody samples they are gone after `KEEP_S`."""

_published = msgspec.msgpack.Decoder(Published)


class _Told(msgspec.Struct, array_like=True):
    """Predictions of one service that ended in one slot."""

    service_id: str
    slot: int
    completed: int
    failed: int
    latency_s: float
    latencies: bytes
    errors: dict[str, int]


_encoder = msgspec.msgpack.Encoder()
_told = msgspec.msgpack.Decoder(list[_Told])


class RedisFigures:
    """`Figures` on Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def publish(self, published: Published) -> None:
        text = _encoder.encode(published)
        key, channel = FIGURES_KEY.encode(), FIGURES_CHANNEL.encode()
        commands = [command(b"SET", key, text, b"EX", b"%d" % KEEP_S), command(b"PUBLISH", channel, text)]
        self._link.call(lambda client: send(client, commands))

    def newest(self) -> Published | None:
        return read(self._link.call(lambda client: client.get(FIGURES_KEY)))

    def predicted(self) -> Sequence[tuple[str, int, Work]]:
        found = self._link.call(lambda client: client.rpop(PREDICTED_KEY, MOST_TOLD))
        works = []
        for text in found if isinstance(found, list) else ():
            if isinstance(text, bytes):
                with contextlib.suppress(msgspec.DecodeError):
                    works += [(told.service_id, told.slot, _work(told)) for told in _told.decode(text)]
        return works

    def tell_predicted(self, service_id: str, works: Sequence[tuple[int, Work]]) -> None:
        told = [
            _Told(
                service_id,
                slot,
                work.completed,
                work.failed,
                work.latency_s,
                work.latencies.to_bytes(),
                dict(work.errors),
            )
            for slot, work in works
        ]
        key = PREDICTED_KEY.encode()
        commands = [command(b"LPUSH", key, _encoder.encode(told)), command(b"EXPIRE", key, b"%d" % KEEP_S)]
        self._link.call(lambda client: send(client, commands))


def _work(told: _Told) -> Work:
    work = Work(completed=told.completed, predictions=told.completed, failed=told.failed, latency_s=told.latency_s)
    work.latencies = Sketch.of_bytes(told.latencies)
    work.errors.update(told.errors)
    return work


def read(text: object) -> Published | None:
    """What was published; None for nothing, and for what is no such thing."""
    if not isinstance(text, bytes):
        return None
    try:
        return _published.decode(text)
    except msgspec.DecodeError:
        return None


async def listen(settings: Settings, on_published: Callable[[Published], None]) -> None:
    """Calls `on_published` with what is published from now on, for ever; while Redis is away there is nothing."""
    was_away = False
    while True:
        client = redis.asyncio.Redis.from_url(
            tls.without_options(settings.redis_url) or "redis://127.0.0.1:6379/0",
            **tls.options(settings.redis_url, settings.redis),
            socket_connect_timeout=settings.redis.connect_timeout_s,
            socket_keepalive=True,
            health_check_interval=15,
        )
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(FIGURES_CHANNEL)
                was_away = False
                async for message in channel.listen():
                    if (published := read(message["data"])) is not None:
                        on_published(published)
        except (redis.RedisError, OSError) as error:
            if not was_away:
                log.warning("figures_interrupted", reason=str(error))
            was_away = True
            await asyncio.sleep(AGAIN_S)
        finally:
            await client.aclose()
