"""Hot copies of final results, and the news that they are there."""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import redis
from redis.exceptions import NoScriptError

from inference.clock import epoch_s
from inference.errors import HotUnavailable
from inference.jobs.model import End, JobState, JobView, ResultRef
from inference.redisio.client import DONE_CHANNEL, RESULT_KEY, RedisLink
from inference.redisio.raw import command, send
from inference.settings import ResultsSettings

_SET = (
    b"*6\r\n$3\r\nSET\r\n$%%d\r\n%s%%b\r\n$%%d\r\n%%b\r\n$2\r\nPX\r\n$%%d\r\n%%b\r\n$2\r\nNX\r\n" % RESULT_KEY.encode()
)
"""`command`, at a third of the price, since this is said of every job."""

_SET_AND_TELL = """
local are_new = true
for i, key in ipairs(KEYS) do
  if not redis.call('SET', key, ARGV[4 + i], 'PX', ARGV[4], 'NX') then are_new = false end
end
redis.call('PUBLISH', ARGV[1], are_new and ARGV[2] or ARGV[3])
"""
"""Keys: copies. Arguments: channel, news with the copies in them, news without, life in ms; then each copy."""
_SHA = hashlib.sha1(_SET_AND_TELL.encode(), usedforsecurity=False).hexdigest().encode()

MOST_CARRIED = 8
MOST_CARRIED_BYTES = 16_384
"""News of so few and such small ends carry them, so that who waits need not ask for them. Of more, who waits for many
asks for all of them together."""

_encoder = msgspec.msgpack.Encoder()


class _Copy(msgspec.Struct, array_like=True):
    """The tenant, then a `JobView` in its own order: `_encode` writes the one, this reads it."""

    tenant_id: str
    id: str
    service_id: str
    state: JobState
    priority: int
    attempts: int
    created_at: float
    started_at: float | None
    completed_at: float | None
    deadline: float | None
    batch_size: int | None
    model_version: str | None
    worker: str | None
    error_code: str | None
    error_message: str | None
    metadata_json: str | None
    result: bytes | None
    generation: int = 1
    asked_service_id: str | None = None
    result_ref: ResultRef | None = None


_decoder = msgspec.msgpack.Decoder(_Copy)
_news_decoder = msgspec.msgpack.Decoder(list[str | _Copy])
_FIELDS = tuple(name for name in _Copy.__struct_fields__ if name != "tenant_id")


def read_news(message: bytes) -> list[str | End]:
    """What is published on the channel of ends: of each job its id, or its end itself. Raises ValueError."""
    return [item if isinstance(item, str) else _end(item) for item in _news_decoder.decode(message)]


def _end(copy: _Copy) -> End:
    return End(tenant_id=copy.tenant_id, view=JobView(**{name: getattr(copy, name) for name in _FIELDS}))


def _view(text: object, tenant_id: str) -> JobView | None:
    """None for what is no copy, a tombstone say, and for somebody else's."""
    if not isinstance(text, bytes):
        return None
    try:
        copy = _decoder.decode(text)
    except msgspec.DecodeError:
        return None
    return _end(copy).view if copy.tenant_id == tenant_id else None


class RedisHotResults:
    """`HotResults` on Redis: one round trip a batch."""

    def __init__(self, link: RedisLink, settings: ResultsSettings) -> None:
        self._link = link
        self._ttl_ms = max(1, round(settings.hot_ttl_s * 1000))
        self._ttl = str(self._ttl_ms).encode()
        self._most_bytes = settings.hot_max_bytes

    def put(self, tenant_id: str, service_id: str, views: Sequence[JobView]) -> None:
        if not views:
            return
        # A process that stood still may come with an end that was taken back since: no tombstone lives that long.
        oldest = epoch_s() - self._ttl_ms / 1000
        fresh = [view for view in views if (view.completed_at or 0.0) > oldest]
        copies = [(view.id, self._encode(tenant_id, view)) for view in fresh]
        small = [(job_id, copy) for job_id, copy in copies if len(copy) <= self._most_bytes]
        ids = _encoder.encode([view.id for view in views])
        tell = self._tell_of_many
        if len(small) == len(views) <= MOST_CARRIED and sum(len(copy) for _, copy in small) <= MOST_CARRIED_BYTES:
            tell = self._tell_of_few
        try:
            self._link.call(lambda client: tell(client, small, ids))
        except HotUnavailable:
            return

    def _tell_of_many(self, client: "redis.Redis", copies: Sequence[tuple[str, bytes]], ids: bytes) -> None:
        prefix, ttl = len(RESULT_KEY), self._ttl
        commands = [
            _SET % (prefix + len(job_id), job_id.encode(), len(copy), copy, len(ttl), ttl) for job_id, copy in copies
        ]
        send(client, [*commands, command(b"PUBLISH", DONE_CHANNEL.encode(), ids)])

    def _tell_of_few(self, client: "redis.Redis", copies: Sequence[tuple[str, bytes]], ids: bytes) -> None:
        """The news carry no end that was taken back before: where `forget` has been, there is no new copy."""
        keys = [(RESULT_KEY + job_id).encode() for job_id, _ in copies]
        texts = [copy for _, copy in copies]
        args = [DONE_CHANNEL.encode(), _encoder.encode([msgspec.Raw(text) for text in texts]), ids, self._ttl, *texts]
        said = command(b"EVALSHA", _SHA, b"%d" % len(keys), *keys, *args)
        (found,) = send(client, [said])
        if isinstance(found, NoScriptError):
            client.script_load(_SET_AND_TELL)
            (found,) = send(client, [said])
        if isinstance(found, Exception):  # no room for a copy, say
            self._tell_of_many(client, copies, ids)

    def get(self, tenant_id: str, job_id: str) -> JobView | None:
        try:
            found = self._link.call(lambda client: client.get(RESULT_KEY + job_id))
        except HotUnavailable:
            return None
        return _view(found, tenant_id)

    def get_many(self, tenant_id: str, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        if not job_ids:
            return {}
        try:
            found = self._link.call(lambda client: client.mget([RESULT_KEY + job_id for job_id in job_ids]))
        except HotUnavailable:
            return {}
        views = zip(job_ids, (_view(copy, tenant_id) for copy in found), strict=True)
        return {job_id: view for job_id, view in views if view is not None}

    def forget(self, job_id: str, *, age_s: float) -> None:
        """Writes a tombstone, which `get` does not understand and `put` does not replace; it lives as a copy does.

        Whoever has heard of the end is told to look again.
        """
        try:
            self._link.call(lambda client: self._bury(client, job_id))
        except HotUnavailable:
            if age_s * 1000 < self._ttl_ms:
                raise

    def _bury(self, client: "redis.Redis", job_id: str) -> None:
        commands = client.pipeline(transaction=False)
        commands.set(RESULT_KEY + job_id, b"", px=self._ttl_ms)
        commands.publish(DONE_CHANNEL, _encoder.encode([job_id]))
        commands.execute()

    def _encode(self, tenant_id: str, view: JobView) -> bytes:
        return _encoder.encode((tenant_id, *msgspec.structs.astuple(view)))
