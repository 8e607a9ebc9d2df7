"""How fast a service works through its queue, by what was measured; and when a waiting job may be done."""

import threading
from collections.abc import Sequence

from inference.clock import monotonic_s
from inference.jobs.directory import MOST
from inference.jobs.model import Pace
from inference.serving.model import Observed, Profile, Service
from inference.serving.ports import ProfileStore, ReplicaStore

LIFE_S = 1.0


def pace(service: Service, profiles: Sequence[Profile], *, instances_ready: int) -> Pace | None:
    """None while no instance is ready, or nothing was measured. Of several kinds of device, the latest one counts."""
    latest = max(profiles, key=lambda profile: profile.measured_at, default=None)
    if latest is None or not latest.curve or instances_ready < 1:
        return None
    most = min(service.config.max_batch or latest.max_batch, latest.max_batch)
    curve = tuple((rows, median_ms / 1000) for rows, median_ms, _ in latest.curve if rows <= most)
    first = (latest.curve[0][0], latest.curve[0][1] / 1000)
    return Pace(instances=instances_ready, curve=curve or (first,))


def eta_s(pace: Pace, position: int) -> float:
    """Seconds until a job with so many before it is done: the batches under way, those before its own, and its own.

    Takes every job for one row, and the queue as it is: what comes later and is more urgent goes before.
    """
    most, full_s = pace.curve[-1]
    rounds, rest = divmod(position, pace.instances * most)
    own_rows = rest // pace.instances + 1
    own_s = next(seconds for rows, seconds in pace.curve if rows >= own_rows)
    return (rounds + 1) * full_s + own_s


class CachedPace:
    """`Pacing` over the stores; what it says may be a second old."""

    def __init__(self, replicas: ReplicaStore, profiles: ProfileStore) -> None:
        self._replicas = replicas
        self._profiles = profiles
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Pace | None]] = {}

    def find(self, service: Service) -> Pace | None:
        now = monotonic_s()
        known = self._known.get(service.id)
        if known is not None and now - known[0] < LIFE_S:
            return known[1]
        ready = [one for one in self._replicas.of_service(service.id) if one.observed is Observed.READY]
        found = pace(
            service,
            self._profiles.of_model(service.model_id),
            instances_ready=sum(one.instances_ready for one in ready),
        )
        with self._lock:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[service.id] = (now, found)
        return found
