"""Connections to Redis, with short time limits and a breaker; the names of all keys and channels."""

from collections.abc import Callable
from typing import Any, TypeVar

import redis
import redis.utils
from redis.backoff import NoBackoff
from redis.retry import Retry

from inference.clock import monotonic_s
from inference.errors import HotUnavailable
from inference.redisio import tls
from inference.settings import Settings

T = TypeVar("T")

# redis-py asks the package's metadata at each connection which version it is, and tells the server: 3 MB a process.
redis.utils.get_lib_version = lambda: redis.__version__

RESULT_KEY = "pst:result:"
SLOTS_KEY = "pst:slots:"
WAKE_KEY = "pst:wake:"
DONE_CHANNEL = "pst:done"
EXPRESS_KEY = "pst:express:"
TOLD_CHANNEL = "pst:told:"
RATE_KEY = "pst:rate:"
WRONG_KEY = "pst:wrong:"
FIGURES_KEY = FIGURES_CHANNEL = "pst:figures"
PREDICTED_KEY = "pst:predicted"
PROGRESS_KEY = "pst:progress:"


class RedisLink:
    """One pool and one breaker per process. After a failure every call is refused at once for `breaker_s`."""

    def __init__(self, settings: Settings, *, timeout_s: float | None = None) -> None:
        limits = settings.redis
        self._breaker_s = limits.breaker_s
        self._open_until = 0.0
        self.client: redis.Redis = redis.Redis.from_url(
            tls.without_options(settings.redis_url) or "redis://127.0.0.1:6379/0",
            **tls.options(settings.redis_url, limits),
            socket_timeout=timeout_s or limits.socket_timeout_s,
            socket_connect_timeout=min(timeout_s or limits.connect_timeout_s, limits.connect_timeout_s),
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )

    def call(self, work: Callable[["redis.Redis"], T]) -> T:
        """`work`'s answer. Raises HotUnavailable for anything that Redis or the network did."""
        if monotonic_s() < self._open_until:
            raise HotUnavailable("Redis did not answer a moment ago.", part="redis", retry_after_s=1)
        try:
            return work(self.client)
        except (redis.RedisError, OSError) as error:
            self._open_until = monotonic_s() + self._breaker_s
            raise HotUnavailable(f"Redis does not answer: {error}", part="redis", retry_after_s=1) from error

    @property
    def is_open(self) -> bool:
        """Whether calls are refused at the moment."""
        return monotonic_s() < self._open_until

    def ping(self) -> None:
        """Raises HotUnavailable."""
        self.call(lambda client: client.ping())

    def script(self, text: str) -> Callable[..., Any]:
        """A Lua script as a function of keys and arguments, sent by its hash."""
        registered = self.client.register_script(text)
        return lambda keys, args: self.call(lambda client: registered(keys=keys, args=args, client=client))

    def close(self) -> None:
        self.client.close()
