"""Idle models are unloaded: who rests, by how long nobody came, who waits for the room, and when the next will come."""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence

import structlog

from inference.scaling.ports import ScalingPorts, Target
from inference.serving.model import MEANT_TO_RUN, Desired, Observed, Replica, Service, ServiceState
from inference.telemetry import metrics

log = structlog.get_logger(__name__)

POLICY = "idle_reclaim"
PAYS = 3.0
"""A model is kept when its next request is expected within so many times what loading it again takes."""
START_S = 10.0
"""Taken for true until a start was measured."""
BROKEN = 2.0
"""After so many times the usual pause the rhythm is broken, and says nothing of the next request."""
FEW_VISITS = 3
LAST = 50


def run(ports: ScalingPorts, services: Sequence[Service], replicas: Sequence[Replica]) -> int:
    """How many were sent to rest. `services`: all that are watched, `replicas`: all. Raises StoreUnavailable.

    A job that arrives meanwhile wakes the service again, whatever has become of its replicas by then.
    """
    mine: dict[str, list[Replica]] = {}
    for replica in replicas:
        mine.setdefault(replica.service_id, []).append(replica)
    idle = [s for s in services if may_rest(s) and mine.get(s.id)]
    if not idle:
        return 0
    glances = ports.store.glances([service.id for service in idle])
    waiting = ports.predictions([service.id for service in idle])
    is_needed, count = is_room_wanted(services, mine), 0
    for service in idle:
        glance = glances.get(service.id)
        if glance is None or glance.waits or glance.runs or waiting.get(service.id):
            continue
        now = ports.store.now_s()
        made_at = int(glance.newest_id[:12], 16) / 1000 if glance.newest_id else 0.0
        idle_s = min(idle_of(mine[service.id]), now - made_at)
        reason = reason_to_rest(
            service,
            idle_s=idle_s,
            is_room_wanted=is_needed,
            usual_pause_s=pause_of(ports.store.made_at(service.id, limit=LAST), start_s=start_of(mine[service.id])),
            start_s=start_of(mine[service.id]),
        )
        if reason and ports.store.decide(
            service, Target(replicas=0, instances=None), policy=POLICY, reason=reason, signals="{}"
        ):
            log.info("service_rests", service_id=service.id, reason=reason)
            metrics.scaling_decisions.labels(service.id, "in").inc()
            count += 1
    return count


def may_rest(service: Service) -> bool:
    """Whom an autoscaler scales, that lets rest."""
    is_asked = service.config.idle_ttl_s is not None and not service.config.auto_scaling.enabled
    return is_asked and service.state is ServiceState.RUNNING and service.wanted_replicas > 0


def reason_to_rest(
    service: Service, *, idle_s: float, is_room_wanted: bool, usual_pause_s: float | None, start_s: float
) -> str | None:
    """Why the service should rest now, in words; None when it should not."""
    ttl_s = service.config.idle_ttl_s
    if ttl_s is None or idle_s < ttl_s:
        return None
    if service.config.idle_reclaim == "pressure" and not is_room_wanted:
        return None
    if usual_pause_s is not None and idle_s < usual_pause_s * BROKEN:
        next_s = max(0.0, usual_pause_s - idle_s)
        if next_s < start_s * PAYS:
            return None
    why = ", and another service waits for room" if service.config.idle_reclaim == "pressure" else ""
    return f"Nothing came for {idle_s:.0f} s (idle_ttl_s {ttl_s:g}){why}; the next request starts it again."


def pause_of(made_at: Sequence[float], *, start_s: float) -> float | None:
    """The usual pause between two visits; what comes within a start's time is one visit. None after a few only."""
    times = sorted(made_at)
    pauses = [after - before for before, after in itertools.pairwise(times) if after - before > start_s]
    return statistics.median(pauses) if len(pauses) >= FEW_VISITS else None


def is_room_wanted(services: Iterable[Service], replicas: Mapping[str, Sequence[Replica]]) -> bool:
    """Whether some service has fewer replicas than it should, because there is no place."""
    for service in services:
        has = sum(replica.desired is Desired.RUNNING for replica in replicas.get(service.id, ()))
        if service.state is ServiceState.PREEMPTED:
            return True
        if service.state in MEANT_TO_RUN and service.suggested_action is not None and has < service.wanted_replicas:
            return True
    return False


def idle_of(replicas: Sequence[Replica]) -> float:
    """Seconds since any of them was at work, as far as they have told; 0 while one is not ready or does not say."""
    ages = [
        replica.reported_at - replica.busy_at
        if replica.observed is Observed.READY and replica.busy_at is not None
        else 0.0
        for replica in replicas
    ]
    return min(ages, default=0.0)


def start_of(replicas: Sequence[Replica]) -> float:
    """How long it took the slowest of them from its start until it was ready."""
    known = [p.ready_at - p.began_at for p in replicas if p.ready_at is not None and p.began_at is not None]
    return max(known, default=START_S)
