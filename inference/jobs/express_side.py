"""What a drain has to do with the express lane: takes, answers, keeps count."""

import threading
from collections.abc import Sequence

import structlog

from inference.clock import monotonic_s
from inference.errors import HotUnavailable, InstanceLost, NoRoom, Unavailable
from inference.jobs.express_model import ExpressJob, Told
from inference.jobs.kept_answers import KeptAnswers
from inference.jobs.model import Claimant, ClaimedJob, JobState, Outcome
from inference.jobs.ports import JobPorts
from inference.jobs.predicted import Predicted
from inference.jobs.traced import traces_of
from inference.telemetry import metrics

log = structlog.get_logger(__name__)

DAY_S = 86_400
USAGE_S = 1.0
"""Predictions are added to what was used at most so often; a crash loses what was not added yet."""
LOOK_S = 0.25
"""While predictions keep an instance busy, it looks for jobs that often, besides when they are rung for."""
QUIET_S = 0.005
"""After a look that found the lane empty, jobs alone go on without another for so long: a look is a round trip."""
AWAY_S = 3.0
"""After Redis was away, jobs alone go on for so long without another try: one that hangs costs each try a second."""
STOPPED = "The engine was stopped before this prediction was done; send it again."


def holder(instance_id: str, takes: int) -> str:
    """The name under which it is noted what an instance took."""
    return f"{instance_id}:{takes % 2}"


def tell_lost(ports: JobPorts, instance_id: str) -> int:
    """Refuses what an earlier process of the same instance had in hand, and died with; how many that were."""
    if ports.express is None:
        return 0
    try:
        return sum(ports.express.lost(holder(instance_id, takes)) for takes in range(2))
    except HotUnavailable:
        return 0


class ExpressSide:
    """Of one instance. Without a lane it takes nothing, and jobs are always due. `is_crowded`: the last take left some.

    The engine's thread and the drain's may tell at the same time; all else belongs to the drain's.
    """

    def __init__(self, ports: JobPorts, by: Claimant) -> None:
        self._lane = ports.express
        self._store = ports.store
        self._by = by
        self._untold: list[Outcome] = []
        self._untold_lock = threading.Lock()
        self._used: dict[tuple[int, str, str], tuple[int, int, float]] = {}
        self._used_lock = threading.Lock()
        self._add_at = 0.0
        self._look_at = 0.0
        self._quiet_until = 0.0
        self._away_until = 0.0
        self._takes = 0
        self.is_crowded = False
        self._latency = metrics.express_latency.labels(by.service_id)
        self._predicted = Predicted(ports.figures, by.service_id)
        self._kept = KeptAnswers(ports, by)
        self._traces = traces_of(ports.traces, by)

    @property
    def are_jobs_due(self) -> bool:
        """Whether it is time to look for jobs, though the last look found none."""
        return self._lane is None or monotonic_s() >= self._look_at

    def looked(self, *, found: bool, again_s: float = LOOK_S) -> None:
        """After a claim of jobs."""
        self._look_at = 0.0 if found else monotonic_s() + again_s

    def heard(self) -> None:
        """Redis has just told that a prediction waits: it is not away."""
        self._away_until = 0.0

    def heard_of_none(self) -> None:
        """Redis has just told that jobs wait, and no prediction: as good as a look that found the lane empty."""
        if not self.is_crowded:
            self._quiet_until = monotonic_s() + QUIET_S

    def part(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of jobs; those of predictions are told with the next `take`."""
        mine = [outcome for outcome in outcomes if isinstance(outcome.job, ExpressJob)]
        if not mine:
            return list(outcomes)
        with self._untold_lock:
            self._untold += mine
        return [outcome for outcome in outcomes if not isinstance(outcome.job, ExpressJob)]

    def tell(self) -> None:
        """Tells what is untold, before another batch runs."""
        untold = self._all_untold()
        if untold and self._lane is not None:
            try:
                self._lane.tell(self._told(untold))
            except HotUnavailable as error:
                log.warning("express_untold", reason=error.message, count=len(untold))

    def take(self, max_rows: int, *, may_wait: bool = False) -> tuple[ExpressJob, ...]:
        """Tells what is untold, and takes at most so many rows. Nothing while Redis is away.

        `may_wait`: not even a look when nothing is to be told and the lane was empty just now.
        """
        if self._lane is None or (not self._untold and monotonic_s() < self._away_until):
            return ()
        if may_wait and not self._untold and monotonic_s() < self._quiet_until:
            return ()
        untold = self._all_untold()
        while True:
            self._takes += 1
            try:
                taken = self._lane.exchange(
                    self._by.service_id,
                    told=self._told(untold),
                    max_rows=max_rows,
                    now=self._store.now_s(),
                    # While one turn runs, the next is taken: each is noted until the one after it is.
                    holder=holder(self._by.instance_id, self._takes),
                )
            except HotUnavailable as error:
                log.info("express_away", reason=error.message, untold=len(untold))
                self._look_at = 0.0
                self.is_crowded = False
                self._away_until = monotonic_s() + AWAY_S
                return ()
            if taken.is_woken:
                self._look_at = 0.0
            self.is_crowded = bool(taken.jobs and taken.left)
            self._quiet_until = 0.0 if taken.jobs or taken.left else monotonic_s() + QUIET_S
            if taken.jobs or not taken.left or not max_rows:
                return taken.jobs
            untold = []

    def _all_untold(self) -> list[Outcome]:
        with self._untold_lock:
            untold, self._untold = self._untold, []
        return untold

    def stopped(self, jobs: Sequence[ClaimedJob]) -> list[ClaimedJob]:
        """Of jobs without an outcome those that can be given back; predictions are refused instead."""
        now = self._store.now_s()
        refused = [
            Outcome(
                job=job,
                state=JobState.FAILED,
                started_at=now,
                ended_at=now,
                batch_size=1,
                error_code=InstanceLost.code,
                error_message=STOPPED,
            )
            for job in jobs
            if isinstance(job, ExpressJob)
        ]
        with self._untold_lock:
            self._untold += refused
        return [job for job in jobs if not isinstance(job, ExpressJob)]

    def add_usage(self, *, is_over: bool = False) -> None:
        """Adds what predictions used, now and then; at the end (`is_over`) at once. Kept while the database is away."""
        self._predicted.tell(is_over=is_over)
        self._kept.put(is_over=is_over)
        if not self._used or not (is_over or monotonic_s() >= self._add_at):
            return
        with self._used_lock:
            used, self._used = self._used, {}
        self._add_at = monotonic_s() + USAGE_S
        try:
            self._store.add_usage(self._by, [(*key, *sums) for key, sums in used.items()])
        except (Unavailable, NoRoom) as error:
            log.warning("express_usage_waits", reason=error.message)
            with self._used_lock:
                for key, sums in used.items():
                    self._add(key, sums)

    def _told(self, outcomes: Sequence[Outcome]) -> dict[str, list[Told]]:
        """By asker; and counts them."""
        found: dict[str, list[Told]] = {}
        done = 0
        for outcome in outcomes:
            job = outcome.job
            if not isinstance(job, ExpressJob):
                continue
            done += outcome.result is not None
            self._latency.observe(outcome.ended_at - job.submitted_at)
            found.setdefault(job.asker, []).append(
                Told(
                    id=job.id,
                    result=outcome.result,
                    model_version=self._by.model_version,
                    error_code=outcome.error_code or "",
                    error_message=outcome.error_message or "",
                )
            )
        self._traces.answered(outcomes)
        self._note_usage(outcomes)
        self._predicted.note(outcomes)
        self._kept.note(outcomes)
        for result, count in (("ok", done), ("failed", len(outcomes) - done)):
            if count:
                metrics.express.labels(self._by.service_id, result).inc(count)
        return found

    def _note_usage(self, outcomes: Sequence[Outcome]) -> None:
        with self._used_lock:
            for outcome in outcomes:
                job = outcome.job
                key = int(outcome.ended_at // DAY_S), job.tenant_id, job.key_id or ""
                seconds = max(0.0, outcome.ended_at - outcome.started_at) / max(1, outcome.batch_size)
                self._add(key, (1, job.rows, seconds))

    def _add(self, key: tuple[int, str, str], more: tuple[int, int, float]) -> None:
        jobs, rows, seconds = self._used.get(key, (0, 0, 0.0))
        self._used[key] = jobs + more[0], rows + more[1], seconds + more[2]
