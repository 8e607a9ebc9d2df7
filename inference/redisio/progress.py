"""How far running jobs are, as their engines report it: in Redis alone, since nothing depends on it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import msgspec
import redis

from inference.errors import HotUnavailable
from inference.jobs.progress import Progress
from inference.redisio.client import PROGRESS_KEY, RedisLink

_encoder = msgspec.msgpack.Encoder()


class _Kept(msgspec.Struct, array_like=True):
    generation: int
    attempt: int
    fraction: float
    message: str
    updated_at: float


_decoder = msgspec.msgpack.Decoder(_Kept)


class RedisProgress:
    """`ProgressBoard` on Redis: one round trip a call."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def put(self, reports: Mapping[str, Progress], *, ttl_s: float) -> None:
        life_ms = max(1, round(ttl_s * 1000))

        def work(client: "redis.Redis") -> None:
            with client.pipeline(transaction=False) as many:
                for job_id, report in reports.items():
                    many.set(PROGRESS_KEY + job_id, _encoder.encode(msgspec.structs.astuple(report)), px=life_ms)
                many.execute()

        self._try(work)

    def remove(self, job_ids: Sequence[str]) -> None:
        if job_ids:
            self._try(lambda client: client.delete(*(PROGRESS_KEY + job_id for job_id in job_ids)))

    def get(self, job_ids: Sequence[str]) -> Mapping[str, Progress]:
        if not job_ids:
            return {}
        try:
            found = self._link.call(lambda client: client.mget([PROGRESS_KEY + job_id for job_id in job_ids]))
        except HotUnavailable:
            return {}
        read = ((job_id, _read(text)) for job_id, text in zip(job_ids, found, strict=True))
        return {job_id: report for job_id, report in read if report is not None}

    def _try(self, work: "Callable[[redis.Redis], object]") -> None:
        with contextlib.suppress(HotUnavailable):
            self._link.call(work)


def _read(text: object) -> Progress | None:
    if not isinstance(text, bytes):
        return None
    try:
        kept = _decoder.decode(text)
    except msgspec.DecodeError:
        return None
    return Progress(**msgspec.structs.asdict(kept))
