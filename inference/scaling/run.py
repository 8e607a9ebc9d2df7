"""One turn of the autoscaler: signals of all scaled services in, decisions out, each written where it is new."""

import itertools
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from inference.clock import monotonic_s
from inference.scaling import model, peaks, wake
from inference.scaling.act import began, limits_of, placed, room_for, target_of
from inference.scaling.cap import within_quota
from inference.scaling.model import Decision, Memory, Signals, Unfinished
from inference.scaling.policies import POLICIES
from inference.scaling.ports import Glance, Kept, ScalingPorts, Target
from inference.scaling.signals import WINDOW_S, Window, by_service, gather
from inference.serving.model import Replica, Service
from inference.telemetry import metrics

log = structlog.get_logger(__name__)

DUTY = "scaling"
HOLD_S = 5.0
CALM_S = 5.0
"""A service where nothing waits, runs or comes is decided on so seldom; all others at every turn."""
LAG_S = 0.2
"""Ids are made before their rows are committed: the last moments are counted at the next turn."""
SAVE_S = 60.0
MOST_COUNTED, MOST_READ = 50_000, 2_000
MOST_HISTORY = 100_000
"""Jobs that are looked back at, of all services together that are new at once: a few tenths of a second."""
COSTS_S = 10.0


class Autoscaler:
    """Keeps what one process has seen of the services; another takes over from what was saved. One thread at a time."""

    def __init__(self, ports: ScalingPorts, *, name: str) -> None:
        self._ports = ports
        self._name = name
        self._windows: dict[str, Window] = {}
        self._ended_until: float | None = None
        self._affordable: Mapping[str, int] = {}
        self._asked_costs_at = float("-inf")

    def turn(self) -> int:
        """How many targets were changed. Who does not hold the duty only wakes who rests. Raises StoreUnavailable."""
        watched = self._ports.store.watched()
        if not watched:
            self._windows.clear()
            return 0
        changed = wake.run(self._ports, [service for service in watched if service.is_resting])
        scaled = [s for s in watched if s.config.auto_scaling.enabled and s.id not in changed]
        count = len(changed)
        if scaled and self._ports.turns.hold(DUTY, by=self._name, for_s=HOLD_S):
            count += self._decide(scaled)
        elif scaled:
            self._windows.clear()
        return count

    def _decide(self, services: Sequence[Service]) -> int:
        store, now = self._ports.store, self._ports.store.now_s()
        known = {service.id: service for service in services}
        self._recall(services)
        glances = store.glances(known)
        predictions = self._ports.predictions(list(known))
        rates = self._ports.predicted()
        asked = {i: predictions.get(i, 0) + rates.get(i, 0.0) for i in known}
        due = [s for s in services if self._is_due(s, glances.get(s.id), asked[s.id], now)]
        if not due:
            return 0
        for service_id in rates.keys() & {service.id for service in due}:
            self._windows[service_id].answered(rates[service_id], until=now - LAG_S)
        self._count(due, glances, now)
        ids = [service.id for service in due]
        busy = [i for i in ids if (glance := glances.get(i)) and (glance.waits or glance.runs)]
        unfinished = store.unfinished(busy, most=MOST_COUNTED) if busy else {}
        replicas: dict[str, list[Replica]] = {}
        for replica in store.replicas(ids):
            replicas.setdefault(replica.service_id, []).append(replica)
        self._ask_costs(services)
        changed = 0
        for service in due:
            parts = _with_predictions(unfinished.get(service.id, ()), predictions.get(service.id, 0))
            changed += self._settle(service, parts, replicas.get(service.id, []), now)
        self._save(due, now)
        return changed

    def _recall(self, services: Sequence[Service]) -> None:
        ids = {service.id for service in services}
        for gone in self._windows.keys() - ids:
            del self._windows[gone]
        if new := sorted(ids - self._windows.keys()):
            kept = self._ports.store.kept(new)
            for service in (s for s in services if s.id in new):
                window = self._windows[service.id] = Window()
                saved = kept.get(service.id, Kept())
                if service.id in kept:
                    window.memory = model.decode(saved.memory or None)
                else:
                    window.memory = self._history(service.id, most=MOST_HISTORY // len(new))
                window.start_s, window.work_s = saved.start_s, saved.work_s

    def _history(self, service_id: str, *, most: int) -> Memory:
        """What came before anybody decided on the service, as if it had been watched: asked once, then it is saved."""
        since = self._ports.store.now_s() - peaks.DAY_S
        times = self._ports.store.made_at(service_id, limit=most)
        return Memory(peaks=peaks.of_times([at for at in times if at >= since]))

    def _is_due(self, service: Service, glance: Glance | None, predictions: float, now: float) -> bool:
        window = self._windows[service.id]
        is_moving = glance is not None and (glance.waits or glance.runs or glance.newest_id != window.newest_id)
        return is_moving or predictions > 0 or now - window.decided_at >= CALM_S

    def _count(self, due: Sequence[Service], glances: Mapping[str, Glance], now: float) -> None:
        """Arrivals since the last count, and what ended since: each job is counted once, not once a turn."""
        store, until = self._ports.store, now - LAG_S
        groups: dict[float, list[str]] = {}
        for service in due:
            window, glance = self._windows[service.id], glances.get(service.id)
            if glance is not None and glance.newest_id != window.newest_id:
                groups.setdefault(max(window.counted_until, until - WINDOW_S), []).append(service.id)
            else:
                window.came(0, until=until)
        for since, ids in groups.items():
            if until - since > 3 * CALM_S:
                self._count_anew(ids, until)
                continue
            for service_id, count in store.arrivals(ids, since=since, until=until).items():
                self._windows[service_id].came(count, until=until)
        for service in due:
            if (glance := glances.get(service.id)) and self._is_counted(glance, until):
                self._windows[service.id].newest_id = glance.newest_id
        since = max(self._ended_until or 0.0, now - WINDOW_S)
        ended = store.ended(since=since, most=MOST_READ)
        for service_id, jobs in by_service(ended).items():
            if service_id in self._windows:
                self._windows[service_id].finished(jobs)
        if ended:
            self._ended_until = ended[0].at

    def _count_anew(self, ids: Sequence[str], until: float) -> None:
        edges = [until - span for span in (60.0, 15.0, 5.0, 0.0)]
        for since, to in itertools.pairwise(edges):
            for service_id, count in self._ports.store.arrivals(ids, since=since, until=to).items():
                self._windows[service_id].came(count, until=to)

    def _is_counted(self, glance: Glance, until: float) -> bool:
        return not glance.newest_id or int(glance.newest_id[:12], 16) / 1000 < until

    def _settle(
        self, service: Service, unfinished: Sequence[Unfinished], replicas: Sequence[Replica], now: float
    ) -> int:
        window = self._windows[service.id]
        is_known = window.profile is not None and window.profile.model_id == service.model_id
        if not is_known and (unfinished or window.arrivals):
            window.profile = next(iter(self._ports.profiles.of_model(service.model_id)), None)
        if window.started_at != service.started_at:
            window.memory, window.started_at = began(service, window.memory), service.started_at
        signals = gather(service, window, unfinished=unfinished, replicas=replicas, now=now)
        is_met = placed(replicas) >= service.wanted_replicas * service.wanted_instances
        window.unmet_since = None if is_met else window.unmet_since or now
        unmet_s = 0.0 if window.unmet_since is None else now - window.unmet_since
        room = room_for(service, replicas, unmet_s=unmet_s)
        limits = limits_of(service, room=room, affordable=self._affordable.get(service.id))
        policy = service.config.auto_scaling.policy
        decision, window.memory = POLICIES[policy].decide(signals, limits, window.memory)
        window.decided_at = now
        metrics.scaling_wanted.labels(service.id).set(decision.wanted)
        metrics.scaling_ready.labels(service.id).set(signals.ready)
        return self._write(service, policy, decision, signals)

    def _write(self, service: Service, policy: str, decision: Decision, signals: Signals) -> int:
        ideal = target_of(decision.wanted, service.config.auto_scaling)
        target, limit = within_quota(self._ports, service, ideal, wanted=decision.wanted)
        before, reason = (service.wanted_replicas, service.wanted_instances), decision.reason + limit
        is_same = (target.replicas, target.instances) == before or (target.replicas == 0 == before[0])
        if is_same and (not limit or limit in (service.target_reason or "")):
            return 0
        figures = msgspec.json.encode({"signals": signals, "details": decision.details}).decode()
        if not self._ports.store.decide(service, target, policy=policy, reason=reason, signals=figures):
            return 0
        self._windows[service.id].saved_at = 0.0
        log.info(
            "service_scaled",
            service_id=service.id,
            replicas=target.replicas,
            instances=target.instances,
            was_replicas=before[0],
            was_instances=before[1],
            reason=reason,
        )
        if is_same:
            return 0
        metrics.scaling_decisions.labels(service.id, "out" if _size(target) > before[0] * before[1] else "in").inc()
        return 1

    def _ask_costs(self, services: Sequence[Service]) -> None:
        if monotonic_s() - self._asked_costs_at >= COSTS_S:
            self._affordable = self._ports.affordable(services)
            self._asked_costs_at = monotonic_s()

    def _save(self, services: Sequence[Service], now: float) -> None:
        """Of services that moved, once a minute, and after each decision."""
        due = {
            service.id: window
            for service in services
            if now - (window := self._windows[service.id]).saved_at >= SAVE_S
            and (window.arrivals or not window.saved_at)
        }
        self._ports.store.keep(
            {
                service_id: Kept(
                    memory=model.encode(window.memory).decode(), start_s=window.start_s, work_s=window.work_s
                )
                for service_id, window in due.items()
            }
        )
        for window in due.values():
            window.saved_at = now


def _with_predictions(unfinished: Sequence[Unfinished], waiting: int) -> Sequence[Unfinished]:
    """Somebody waits for a prediction: they count as the most urgent."""
    if not waiting:
        return unfinished
    first = next((part for part in unfinished if part.priority == 9), Unfinished(priority=9, jobs=0, oldest_s=0.0))
    rest = [part for part in unfinished if part.priority != 9]
    return [*rest, Unfinished(priority=9, jobs=first.jobs + waiting, oldest_s=first.oldest_s)]


def _size(target: Target) -> int:
    return (target.replicas or 0) * (target.instances or 0)
