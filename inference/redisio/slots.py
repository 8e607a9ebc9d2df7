"""Drain slots: how many drains of a service may be under way, and the wake tokens left for them, of each lane.

A slot is a field of the hash `pst:slots:<service>`: number -> "token|until". Time is Redis' own. Everything here may be
lost at any moment; then a drain too many runs, or one starts two seconds late.
"""

from enum import StrEnum

import redis

from inference.errors import HotUnavailable
from inference.redisio.client import SLOTS_KEY, WAKE_KEY, RedisLink

LEASE_S = 30
WAKE_S = 60
"""How long a wake token lies at most."""


class Wake(StrEnum):
    """What woke a drain that lingered: committed jobs, or predictions that somebody waits for."""

    JOBS = "jobs"
    EXPRESS = "express"


RING_OR_WAKE = """
local now = tonumber(redis.call('TIME')[1])
for slot = 0, tonumber(ARGV[1]) - 1 do
  local held = redis.call('HGET', KEYS[1], slot)
  local till = held and tonumber(string.match(held, '|(%d+)$')) or 0
  if till < now then
    redis.call('HSET', KEYS[1], slot, ARGV[2] .. '|' .. (now + tonumber(ARGV[3])))
    redis.call('EXPIRE', KEYS[1], 3600)
    return slot
  end
end
if redis.call('LLEN', KEYS[2]) < tonumber(ARGV[1]) then
  redis.call('LPUSH', KEYS[2], '1')
  redis.call('EXPIRE', KEYS[2], 60)
end
return -1
"""

_RELEASE_IF_NO_WAKE = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or string.match(held, '^(.*)|') ~= ARGV[2] then return 1 end
local woken = redis.call('RPOP', KEYS[2])
local by_express = redis.call('RPOP', KEYS[3])
if woken or by_express then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"""

_RENEW = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or string.match(held, '^(.*)|') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '|' .. (tonumber(redis.call('TIME')[1]) + tonumber(ARGV[3])))
redis.call('EXPIRE', KEYS[1], 3600)
return 1
"""


def express_wake(service_id: str) -> str:
    """The list of the wake tokens of a service's express lane."""
    return f"{WAKE_KEY}{service_id}:x"


class Slots:
    """The three moves of a slot. Every call but `wait` raises HotUnavailable when Redis is away."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._ring_or_wake = link.script(RING_OR_WAKE)
        self._release_if_no_wake = link.script(_RELEASE_IF_NO_WAKE)
        self._renew = link.script(_RENEW)

    def ring_or_wake(self, service_id: str, *, slots: int, token: str) -> int | None:
        """A free slot, now held under `token`: ring it. None when all are held; a wake token was left."""
        slot = int(self._ring_or_wake([SLOTS_KEY + service_id, WAKE_KEY + service_id], [slots, token, LEASE_S]))
        return None if slot < 0 else slot

    def renew(self, service_id: str, *, slot: int, token: str) -> bool:
        """True while the slot is held under `token`; it then is for another lease."""
        return bool(self._renew([SLOTS_KEY + service_id], [slot, token, LEASE_S]))

    def release_if_no_wake(self, service_id: str, *, slot: int, token: str) -> bool:
        """True when the drain is over; False when a wake token was waiting (taken now): drain again."""
        keys = [SLOTS_KEY + service_id, WAKE_KEY + service_id, express_wake(service_id)]
        return bool(self._release_if_no_wake(keys, [slot, token]))

    def wait(self, service_id: str, *, timeout_s: float) -> Wake | None:
        """Which wake token came in time, if any, those of the express lane first. Redis away: None after the time."""
        express = express_wake(service_id)

        def work(client: "redis.Redis") -> object:
            return client.brpop([express, WAKE_KEY + service_id], timeout=timeout_s)

        try:
            found = self._link.call(work)
        except HotUnavailable:
            return None
        if not isinstance(found, (list, tuple)):
            return None
        return Wake.EXPRESS if found[0] == express.encode() else Wake.JOBS

    def give_back(self, service_id: str, wake: Wake) -> None:
        """A token that `wait` took from somebody else lies there again."""
        key = express_wake(service_id) if wake is Wake.EXPRESS else WAKE_KEY + service_id

        def work(client: "redis.Redis") -> object:
            pipeline = client.pipeline(transaction=False)
            pipeline.lpush(key, "1")
            pipeline.expire(key, WAKE_S)
            return pipeline.execute()

        self._link.call(work)
