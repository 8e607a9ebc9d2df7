"""The express lane in Redis: one sorted set a service, its score the order key, and one message a batch and asker back.

A member is `id asker rows deadline bucket`, a line feed, and what only the engine's side reads; the line is for the
script that takes. Whoever put a member can take it back by naming it.
"""

from collections.abc import Mapping, Sequence

import msgspec
import redis
from redis.exceptions import NoScriptError

from inference.jobs.express_model import Asked, ExpressJob, Taken, Told
from inference.redisio.client import EXPRESS_KEY, TOLD_CHANNEL, WAKE_KEY, RedisLink
from inference.redisio.raw import command, send
from inference.redisio.slots import RING_OR_WAKE, express_wake

HELD_S = 120
"""How long it is remembered who waits for what an instance has in hand: longer than anybody waits."""
LOST_CODE, LOST = "instance_lost", "The engine process died with this prediction; send it again."

PUT = f"""
local function ring()
{RING_OR_WAKE}
end
local room, count = tonumber(ARGV[4]) - redis.call('ZCARD', KEYS[3]), 0
for i = 5, #ARGV, 2 do
  if count >= room then break end
  redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1])
  count = count + 1
end
if count == 0 then return {{0, -1}} end
redis.call('EXPIRE', KEYS[3], {HELD_S})
return {{count, ring()}}
"""
"""Keys: slots, wake tokens of this lane, queue. Arguments: slots, token, lease, limit, then score and member of each.

Returns how many it took, the first ones, and the slot to ring; -1 for none.
"""

_TAKE = f"""
local max_rows, now = tonumber(ARGV[1]), tonumber(ARGV[2])
local woken = redis.call('RPOP', KEYS[2]) and 1 or 0
local answer, held, first, rows = {{woken, 0}}, {{}}, nil, 0
if max_rows > 0 then
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, math.min(max_rows, 1000) - 1)) do
    local id, asker, count, deadline, bucket = string.match(member, '^(%x+) (%S+) (%d+) (%S+) (%S*)\\n')
    count, deadline = tonumber(count), tonumber(deadline)
    if not deadline or deadline <= now then
      redis.call('ZREM', KEYS[1], member)
    elseif not first or (bucket == first and rows + count <= max_rows) then
      first, rows = bucket, rows + count
      held[#held + 1] = id .. ' ' .. asker
      answer[#answer + 1] = member
    else
      break
    end
  end
  if #held > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #held - 1) end
end
answer[2] = redis.call('ZCARD', KEYS[1])
if answer[2] == 0 then redis.call('DEL', KEYS[3]) end
if #held > 0 then
  redis.call('SET', KEYS[4], table.concat(held, '\\n'), 'EX', {HELD_S})
end
return answer
"""

_LOST = """
local held = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return held
"""


class _Body(msgspec.Struct, array_like=True):
    tenant_id: str
    key_id: str | None
    priority: int
    submitted_at: float
    timeout_s: float
    payload: bytes
    metadata_json: str | None = None
    input_key: str | None = None


_encoder = msgspec.msgpack.Encoder()
_bodies = msgspec.msgpack.Decoder(_Body)
_answers = msgspec.msgpack.Decoder(list[Told])


def queue_key(service_id: str) -> str:
    return EXPRESS_KEY + service_id


def member_of(asked: Asked, asker: str) -> bytes:
    """What stands in the sorted set for it."""
    line = f"{asked.id} {asker} {asked.rows} {asked.deadline:.6f} {asked.bucket}\n"
    body = _Body(
        asked.tenant_id,
        asked.key_id,
        asked.priority,
        asked.submitted_at,
        asked.timeout_s,
        asked.payload,
        asked.metadata_json,
        asked.input_key,
    )
    return line.encode() + _encoder.encode(body)


def job_of(member: bytes, *, now: float) -> ExpressJob:
    """Raises ValueError for what nobody of ours wrote."""
    line, _, packed = member.partition(b"\n")
    job_id, asker, rows, deadline, bucket = line.decode().split(" ")
    body = _bodies.decode(packed)
    return ExpressJob(
        id=job_id,
        asker=asker,
        tenant_id=body.tenant_id,
        attempt=1,
        max_attempts=1,
        priority=body.priority,
        bucket=bucket,
        rows=int(rows),
        crashes=0,
        submitted_at=body.submitted_at,
        claimed_at=now,
        deadline=float(deadline),
        timeout_s=body.timeout_s,
        metadata_json=body.metadata_json,
        payload=body.payload,
        key_id=body.key_id,
        input_key=body.input_key,
    )


def read_answers(message: bytes) -> list[Told]:
    """What a worker published on an asker's channel. Raises ValueError."""
    return _answers.decode(message)


class RedisExpress:
    """`ExpressLane`: one round trip answers a batch and takes the next one."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._take = link.client.register_script(_TAKE)
        self._lost = link.script(_LOST)

    def exchange(
        self, service_id: str, *, told: Mapping[str, Sequence[Told]], max_rows: int, now: float, holder: str
    ) -> Taken:
        keys = [queue_key(service_id), WAKE_KEY + service_id, express_wake(service_id), _held_key(holder)]

        def work(client: "redis.Redis") -> list[object]:
            take = self._take.sha, str(len(keys)), *keys, str(max_rows), repr(now)
            said = [command(b"EVALSHA", *(word.encode() for word in take))]
            found = send(client, [*_publish(told), *said])[-1]
            if isinstance(found, NoScriptError):
                found = self._take(keys=keys, args=[max_rows, repr(now)], client=client)
            if isinstance(found, Exception):
                raise found
            return list(found)

        woken, left, *members = self._link.call(work)
        jobs = tuple(job_of(member, now=now) for member in members if isinstance(member, bytes))
        return Taken(jobs=jobs, left=int(str(left)), is_woken=bool(woken))

    def tell(self, told: Mapping[str, Sequence[Told]]) -> None:
        if told:
            self._link.call(lambda client: send(client, _publish(told)))

    def waiting(self, service_id: str) -> int:
        return int(str(self._link.call(lambda client: client.zcard(queue_key(service_id)))))

    def waiting_in(self, service_ids: Sequence[str]) -> Mapping[str, int]:
        def work(client: "redis.Redis") -> list[int]:
            with client.pipeline(transaction=False) as many:
                for service_id in service_ids:
                    many.zcard(queue_key(service_id))
                return many.execute()

        return dict(zip(service_ids, self._link.call(work), strict=True))

    def lost(self, holder: str) -> int:
        held = self._lost([_held_key(holder)], [])
        if not isinstance(held, bytes):
            return 0
        told: dict[str, list[Told]] = {}
        for line in held.decode().split("\n"):
            job_id, _, asker = line.partition(" ")
            told.setdefault(asker, []).append(Told(id=job_id, result=None, error_code=LOST_CODE, error_message=LOST))
        self.tell(told)
        return sum(map(len, told.values()))


def _publish(told: Mapping[str, Sequence[Told]]) -> list[bytes]:
    return [
        command(b"PUBLISH", f"{TOLD_CHANNEL}{asker}".encode(), _encoder.encode(answers))
        for asker, answers in told.items()
    ]


def _held_key(holder: str) -> str:
    return f"{EXPRESS_KEY}held:{holder}"
