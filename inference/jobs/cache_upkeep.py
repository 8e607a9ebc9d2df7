"""What a cache needs from time to time: its limit of bytes, its end, and a warm start for a new version."""

from collections.abc import Callable, Sequence

import structlog

from inference.errors import PenstockError
from inference.ids import new_id
from inference.jobs.cache import key_of, who_answers
from inference.jobs.cache_model import Warming
from inference.jobs.directory import slots
from inference.jobs.model import NewJob, Submission
from inference.jobs.order import key_in
from inference.jobs.ports import JobPorts
from inference.serving.model import Service

log = structlog.get_logger(__name__)

LATER_S = 60.0
"""Jobs that warm a cache stand behind what comes within so long."""
CHUNK, MOST_CHUNKS = 1_000, 50
METADATA = '{"warm_up":true}'


class Upkeep:
    """Of one process. Which services are warm already it forgets with it, and then looks again.

    `is_mine`: whose turn it is, which is not asked while nothing is kept at all.
    """

    def __init__(self, ports: JobPorts, is_mine: Callable[[], bool] = lambda: True) -> None:
        self._ports = ports
        self._is_mine = is_mine
        self._warm: dict[str, str] = {}

    def turn(self) -> int:
        """Trims every cache to its limit, and warms those of new versions; how many entries went and jobs came."""
        if (cache := self._ports.cache) is None:
            return 0
        services = cache.owners()
        if not services or not self._is_mine():
            return 0
        self._warm = {service.id: self._warm[service.id] for service in services if service.id in self._warm}
        done = 0
        for service in services:
            for _ in range(MOST_CHUNKS):
                count = cache.trim(service, limit=CHUNK)
                done += count
                if count < CHUNK:
                    break
            done += self._warm_up(service)
        return done

    def _warm_up(self, service: Service) -> int:
        cache = self._ports.cache
        if cache is None or not service.config.cache_warm or self._warm.get(service.id) == service.model_id:
            return 0
        if (warmings := cache.warmings(service)) is None:
            return 0
        self._warm[service.id] = service.model_id
        who = who_answers(self._ports.directory, service)
        if not warmings or who is None:
            return 0
        try:
            self._ports.commit(_submission(self._ports, service, warmings, who))
        except PenstockError as error:
            log.warning("cache_not_warmed", service_id=service.id, reason=error.message)
            return 0
        log.info("cache_warming", service_id=service.id, jobs=len(warmings))
        return len(warmings)


def forget(ports: JobPorts) -> int:
    """Removes what is over, or was made by a version that nobody went back to; how many entries."""
    if (cache := ports.cache) is None:
        return 0
    removed = cache.forget_orphans()
    for service in cache.owners():
        for _ in range(MOST_CHUNKS):
            count = cache.forget(service, limit=CHUNK)
            removed += count
            if count < CHUNK:
                break
    return removed


def _submission(ports: JobPorts, service: Service, warmings: Sequence[Warming], who: str) -> Submission:
    now, config = ports.store.now_s(), service.config
    key = key_in(config, submitted_at=now, priority=0, deadline=None, place=now + LATER_S)
    return Submission(
        tenant_id=service.tenant_id,
        jobs=tuple(
            NewJob(
                id=new_id(),
                tenant_id=service.tenant_id,
                service_id=service.id,
                priority=0,
                order_key=key,
                submitted_at=now,
                deadline=None,
                timeout_s=config.timeout_s,
                max_attempts=1,
                bucket=one.bucket,
                rows=one.rows,
                callback_url=None,
                metadata_json=METADATA,
                payload=one.payload,
                input_key=key_of(who, one.payload),
            )
            for one in warmings
        ),
        slots=slots(service),
    )
