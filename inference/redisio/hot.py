"""Hot copies of final results, and the news that they are there."""

from collections.abc import Mapping, Sequence

import msgspec

from inference.clock import epoch_s
from inference.errors import HotUnavailable
from inference.jobs.model import JobState, JobView
from inference.redisio.client import DONE_CHANNEL, RESULT_KEY, RedisLink
from inference.redisio.raw import command, send
from inference.settings import ResultsSettings

_SET = (
    b"*6\r\n$3\r\nSET\r\n$%%d\r\n%s%%b\r\n$%%d\r\n%%b\r\n$2\r\nPX\r\n$%%d\r\n%%b\r\n$2\r\nNX\r\n" % RESULT_KEY.encode()
)
"""`command`, at a third of the price, since this is said of every job."""

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


_decoder = msgspec.msgpack.Decoder(_Copy)
_FIELDS = tuple(name for name in _Copy.__struct_fields__ if name != "tenant_id")


def _view(text: object, tenant_id: str) -> JobView | None:
    """None for what is no copy, a tombstone say, and for somebody else's."""
    if not isinstance(text, bytes):
        return None
    try:
        copy = _decoder.decode(text)
    except msgspec.DecodeError:
        return None
    if copy.tenant_id != tenant_id:
        return None
    return JobView(**{name: getattr(copy, name) for name in _FIELDS})


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
        prefix, most, ttl = len(RESULT_KEY), self._most_bytes, self._ttl
        commands = [
            _SET % (prefix + len(job_id), job_id.encode(), len(copy), copy, len(ttl), ttl)
            for job_id, copy in copies
            if len(copy) <= most
        ]
        commands.append(command(b"PUBLISH", DONE_CHANNEL.encode(), _encoder.encode([view.id for view in views])))
        try:
            self._link.call(lambda client: send(client, commands))
        except HotUnavailable:
            return

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
        """Writes a tombstone, which `get` does not understand and `put` does not replace; it lives as a copy does."""
        try:
            self._link.call(lambda client: client.set(RESULT_KEY + job_id, b"", px=self._ttl_ms))
        except HotUnavailable:
            if age_s * 1000 < self._ttl_ms:
                raise

    def _encode(self, tenant_id: str, view: JobView) -> bytes:
        return _encoder.encode((tenant_id, *msgspec.structs.astuple(view)))
