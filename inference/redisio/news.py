"""The news of finished jobs, for asynchronous processes: one subscription each."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import redis
import redis.asyncio
import structlog

from inference.jobs.model import End
from inference.redisio import tls
from inference.redisio.client import DONE_CHANNEL
from inference.redisio.hot import read_news
from inference.redisio.raw import command
from inference.settings import Settings

log = structlog.get_logger(__name__)

AGAIN_S = 0.5
PING_S = 15.0

_MESSAGE = b"*3\r\n"
_FROM = b"$7\r\nmessage\r\n$%d\r\n%b\r\n" % (len(DONE_CHANNEL), DONE_CHANNEL.encode())
_PONG = b"*2\r\n"
_PONG_REST = b"$4\r\npong\r\n$0\r\n\r\n"
_SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(DONE_CHANNEL), DONE_CHANNEL.encode())


async def listen(settings: Settings, hear: Callable[[Sequence[str | End] | None], None]) -> None:
    """Calls `hear` for ever, with the ends of jobs or, where the news carry those not, their ids.

    With nothing, an empty list, when it begins to listen, and with None when it does not any more: what is published
    while Redis is away is missed.
    """
    was_away = False
    while True:
        try:
            async with _subscribed(settings) as line:
                hear([])
                if was_away:
                    log.info("news_resumed")
                was_away = False
                while True:
                    if (message := await line.message()) is not None:
                        hear(read_news(message))
        except (redis.RedisError, OSError, EOFError, ValueError) as error:
            hear(None)
            if not was_away:
                log.warning("news_interrupted", reason=str(error))
            was_away = True
            await asyncio.sleep(AGAIN_S)


class _Line:
    """What Redis says on a subscribed connection. redis-py takes 17 us for a message, and there is one for each job."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._is_heard = True

    async def subscribe(self) -> None:
        """Raises ConnectionError, EOFError."""
        self._writer.write(command(b"SUBSCRIBE", DONE_CHANNEL.encode()))
        if (said := await self._reader.readline()) != _SUBSCRIBED[: len(said)] or not said:
            raise ConnectionError(f"Redis refused the subscription: {said.decode(errors='replace').strip()}")
        await self._reader.readexactly(len(_SUBSCRIBED) - len(said))

    async def message(self) -> bytes | None:
        """The next one; None for the answer to a PING. Raises ValueError for anything else, EOFError at the end."""
        kind = await self._reader.readexactly(len(_MESSAGE))
        self._is_heard = True
        if kind == _PONG:
            await self._reader.readexactly(len(_PONG_REST))
            return None
        if kind != _MESSAGE or await self._reader.readexactly(len(_FROM)) != _FROM:
            raise ValueError("Redis said something that nobody asked for.")
        size = int((await self._reader.readline())[1:])
        return (await self._reader.readexactly(size + 2))[:-2]

    async def ping_for_ever(self) -> None:
        """Ends a connection on which nothing comes, not even the answer to a PING."""
        while self._is_heard:
            self._is_heard = False
            self._writer.write(command(b"PING"))
            await asyncio.sleep(PING_S)
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def _subscribed(settings: Settings) -> AsyncIterator[_Line]:
    client = redis.asyncio.Redis.from_url(
        tls.without_options(settings.redis_url) or "redis://127.0.0.1:6379/0",
        **tls.options(settings.redis_url, settings.redis),
        socket_connect_timeout=settings.redis.connect_timeout_s,
        socket_keepalive=True,
        protocol=2,
    )
    connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # the library's gap
    pinging: asyncio.Task[None] | None = None
    try:
        await connection.connect()
        reader, writer = connection._reader, connection._writer  # there is no other way to the bytes
        if reader is None or writer is None:
            raise ConnectionError("Redis closed the connection.")
        line = _Line(reader, writer)
        async with asyncio.timeout(settings.redis.connect_timeout_s):
            await line.subscribe()
        pinging = asyncio.ensure_future(line.ping_for_ever())
        yield line
    finally:
        if pinging is not None:
            pinging.cancel()
        await connection.disconnect(nowait=True)
        await client.aclose()
