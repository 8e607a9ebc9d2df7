"""The news of finished jobs, for asynchronous processes: one subscription each."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import redis.asyncio
import structlog

from inference.redisio import tls
from inference.redisio.client import DONE_CHANNEL
from inference.settings import Settings

log = structlog.get_logger(__name__)

AGAIN_S = 0.5


async def listen(settings: Settings, on_ids: Callable[[Sequence[str]], None]) -> None:
    """Calls `on_ids` with the ids of finished jobs, for ever; what is published while Redis is away is missed."""
    decoder = msgspec.msgpack.Decoder(list[str])
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
                await channel.subscribe(DONE_CHANNEL)
                if was_away:
                    log.info("news_resumed")
                was_away = False
                async for message in channel.listen():
                    on_ids(decoder.decode(message["data"]))
        except (redis.RedisError, OSError, msgspec.DecodeError) as error:
            if not was_away:
                log.warning("news_interrupted", reason=str(error))
            was_away = True
            await asyncio.sleep(AGAIN_S)
        finally:
            await client.aclose()
