"""Counters that several processes share: wrong keys, and requests against a limit."""

from collections.abc import Mapping

import redis

from inference.redisio.client import RATE_KEY, WRONG_KEY, RedisLink

_STRIKE = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class RedisCounts:
    """`SharedCounts` on Redis. Losing them makes limits laxer for a moment, never wrong for good."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._strike = link.script(_STRIKE)

    def add(self, counts: Mapping[str, int], *, keep_s: float) -> dict[str, int]:
        keep_ms = max(1, round(keep_s * 1000))

        def work(client: "redis.Redis") -> list[int]:
            pipe = client.pipeline(transaction=False)
            for name, count in counts.items():
                pipe.incrby(RATE_KEY + name, count)
                pipe.pexpire(RATE_KEY + name, keep_ms)
            return [int(value) for value in pipe.execute()[::2]]

        return dict(zip(counts, self._link.call(work), strict=True))

    def has(self, name: str) -> bool:
        return bool(self._link.call(lambda client: client.get(RATE_KEY + name)))

    def strike(self, name: str, *, window_s: float) -> tuple[int, float]:
        count, left_ms = self._strike([WRONG_KEY + name], [max(1, round(window_s * 1000))])
        return int(count), max(0.0, int(left_ms) / 1000)
