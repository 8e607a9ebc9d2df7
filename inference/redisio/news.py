"""The news of finished jobs, for asynchronous processes: one subscription each."""

import asyncio
from collections.abc import Callable, Sequence

import redis.asyncio
import structlog

from inference.jobs.model import End
from inference.redisio import tls
from inference.redisio.client import DONE_CHANNEL
from inference.redisio.hot import read_news
from inference.settings import Settings

log = structlog.get_logger(__name__)

AGAIN_S = 0.5


async def listen(settings: Settings, hear: Callable[[Sequence[str | End] | None], None]) -> None:
    """Calls `hear` for ever, with the ends of jobs or, where the news carry those not, their ids.

    With nothing, an empty list, when it begins to listen, and with None when it does not any more: what is published
    while Redis is away is missed.
    """
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
            async with client.pubsub() as channel:
                await channel.subscribe(DONE_CHANNEL)
                if was_away:
                    log.info("news_resumed")
                was_away = False
                async for message in channel.listen():
                    hear(read_news(message["data"]) if message["type"] == "message" else [])
        except (redis.RedisError, OSError, ValueError) as error:
            hear(None)
            if not was_away:
                log.warning("news_interrupted", reason=str(error))
            was_away = True
            await asyncio.sleep(AGAIN_S)
        finally:
            await client.aclose()
