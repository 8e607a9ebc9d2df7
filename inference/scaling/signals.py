"""From what was read of a service, look after look, to the figures that a policy decides by."""

import statistics
from collections import deque
from collections.abc import Mapping, Sequence

from inference.scaling.model import Memory, Signals, Unfinished
from inference.scaling.ports import Ended
from inference.serving.model import Desired, Observed, Profile, Replica, Service

WINDOW_S = 60
MOST_ENDED = 500
"""Finished jobs of a service that are remembered: enough for a p95 and a mean, however many there were."""
MOST_OWED_S = 5.0
FEW = 10
"""Fewer than so many say nothing about a spread."""


class Window:
    """What is remembered of one service between looks. `newest_id`: of its last job at the last look.

    `work_s`, `start_s`: the last ones measured. `counted_until`: arrivals are counted up to then, epoch seconds.
    """

    __slots__ = (
        "arrivals",
        "counted_until",
        "decided_at",
        "ended",
        "memory",
        "newest_id",
        "owed",
        "profile",
        "saved_at",
        "start_s",
        "started_at",
        "unmet_since",
        "work_s",
    )

    def __init__(self) -> None:
        self.arrivals: deque[tuple[float, int]] = deque()
        self.ended: deque[Ended] = deque(maxlen=MOST_ENDED)
        self.owed = self.counted_until = self.decided_at = self.saved_at = 0.0
        self.newest_id = ""
        self.memory = Memory()
        self.start_s: float | None = None
        self.started_at: float | None = None
        self.work_s: float | None = None
        self.profile: Profile | None = None
        self.unmet_since: float | None = None

    def came(self, count: int, *, until: float) -> None:
        """So many jobs since the count before; what is older than a minute is forgotten."""
        if count:
            self.arrivals.append((until, count))
        self.counted_until = until
        while self.arrivals and self.arrivals[0][0] <= until - WINDOW_S:
            self.arrivals.popleft()

    def answered(self, per_s: float, *, until: float) -> None:
        """Predictions leave no row; at this rate so many came since the count before. Call it before `came`."""
        self.owed += per_s * min(max(0.0, until - self.counted_until), MOST_OWED_S)
        count = int(self.owed)
        self.owed -= count
        if count:
            self.arrivals.append((until, count))

    def finished(self, jobs: Sequence[Ended]) -> None:
        """In order of time."""
        self.ended.extend(jobs)

    def within(self, seconds: float, now: float) -> int:
        """Jobs that came in so many last seconds."""
        return sum(count for at, count in self.arrivals if at > now - seconds)


def gather(
    service: Service, window: Window, *, unfinished: Sequence[Unfinished], replicas: Sequence[Replica], now: float
) -> Signals:
    """The signals of one service; what was measured is remembered in its window."""
    recent = [job for job in window.ended if job.at > now - WINDOW_S]
    living = [replica for replica in replicas if replica.desired is Desired.RUNNING]
    ready = sum(replica.instances_ready for replica in living if replica.observed is Observed.READY)
    asked = sum(replica.instances for replica in living if replica.observed is not Observed.FAILED)
    per_job = [job.run_s / job.batch_size for job in recent]
    if per_job:
        window.work_s = statistics.fmean(per_job)
    starts = [p.ready_at - p.began_at for p in replicas if p.ready_at is not None and p.began_at is not None]
    if starts:
        window.start_s = max(0.0, *starts)
    jobs = sum(part.jobs for part in unfinished)
    return Signals(
        now_s=now,
        unfinished=tuple(unfinished),
        arrivals_5s=window.within(5, now),
        arrivals_15s=window.within(15, now),
        arrivals_60s=window.within(60, now),
        work_s=window.work_s if window.work_s is not None else expected_s(window.profile, jobs=jobs),
        service_s=statistics.fmean(job.run_s for job in recent) if recent else None,
        cv2_arrivals=_spread_of_arrivals(window, now),
        cv2_work=_cv2(per_job),
        start_s=window.start_s,
        cpu_share=_cpu_share(living, ready),
        memory_share=_memory_share(service, living),
        batch_fill=_fill(recent, window.profile, service.config.max_batch),
        p95_s=_p95([job.latency_s for job in recent]),
        ready=ready,
        starting=max(0, asked - ready),
    )


def expected_s(profile: Profile | None, *, jobs: int) -> float | None:
    """Seconds of work a job by the curve measured at load, in the batches that so many jobs would fill."""
    if profile is None or not profile.curve:
        return None
    fitting = [point for point in profile.curve if point[0] <= max(1, jobs)] or [min(profile.curve)]
    rows, median_ms, _ = max(fitting)
    return median_ms / 1000 / rows


def by_service(jobs: Sequence[Ended]) -> Mapping[str, list[Ended]]:
    """In order of time, from newest first."""
    found: dict[str, list[Ended]] = {}
    for job in reversed(jobs):
        found.setdefault(job.service_id, []).append(job)
    return found


def _spread_of_arrivals(window: Window, now: float) -> float | None:
    """By the index of dispersion of the counts of each second: 1 for arrivals at random, 0 for a regular stream."""
    counts = [0] * WINDOW_S
    for at, count in window.arrivals:
        second = int(now - at)
        if 0 <= second < WINDOW_S:
            counts[second] += count
    if sum(counts) < FEW:
        return None
    return statistics.pvariance(counts) / statistics.fmean(counts)


def _cv2(values: Sequence[float]) -> float | None:
    if len(values) < FEW or not (mean := statistics.fmean(values)):
        return None
    return statistics.pvariance(values) / mean**2


def _p95(values: Sequence[float]) -> float | None:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))] if values else None


def _fill(recent: Sequence[Ended], profile: Profile | None, max_batch: int | None) -> float | None:
    most = max_batch or (profile.max_batch if profile else 0)
    return min(1.0, statistics.fmean(job.batch_size for job in recent) / most) if recent and most else None


def _cpu_share(replicas: Sequence[Replica], ready: int) -> float | None:
    """Of the cores that the instances may use: one each, as many threads as it may have left aside."""
    used = [float(p.usage["cpu_percent"]) for p in replicas if p.usage.get("cpu_percent") is not None]
    return min(1.0, sum(used) / 100 / ready) if used and ready else None


def _memory_share(service: Service, replicas: Sequence[Replica]) -> float | None:
    """Of what was reserved; without a reservation nobody can say what is much."""
    reserved = service.config.requirements.memory_bytes
    used = [float(p.usage["rss_bytes"]) for p in replicas if p.usage.get("rss_bytes") is not None]
    return min(1.0, max(used) / reserved) if used and reserved else None
