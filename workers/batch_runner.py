"""The hands of a drain: one engine, what it was measured to do, and the pulse by which its parent sees it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Histogram

from inference.clock import monotonic_s
from inference.engines.base import Engine, Stoppable
from inference.engines.hooks import Hooks
from inference.jobs import drain, execute
from inference.jobs.execute import Batch
from inference.jobs.model import Claimant, ClaimedJob, JobState, Moved, Outcome
from inference.jobs.trace import trace_of
from inference.logs import fingerprint
from inference.settings import JobsSettings
from inference.telemetry import metrics
from inference.telemetry.allowance import Allowance
from inference.tensors import NanPolicy
from workers.progress import Reports
from workers.pulse import Field, Phase, Record

log = structlog.get_logger(__name__)

PHASES = {
    drain.Phase.IDLE: Phase.IDLE,
    drain.Phase.CLAIMING: Phase.CLAIMING,
    drain.Phase.RUNNING: Phase.RUNNING,
    drain.Phase.FINISHING: Phase.FINISHING,
}
SMOOTHING = 0.2
FAILURES_PER_S, FAILURE_CHARS = 50.0, 200
"""What is logged of failed jobs at most: the rows of the jobs tell of each."""

Told = Callable[[Sequence[Outcome], Mapping[str, Moved]], None]


@dataclass(slots=True, kw_only=True)
class Instance:
    """`Hands` of a loaded engine. `batch_s` is a running mean of full calls, begun with the profile's figure."""

    claimant: Claimant
    engine: Engine
    hooks: Hooks
    record: Record
    settings: JobsSettings
    max_rows: int
    max_wait_s: float
    ahead_below_s: float
    now_s: Callable[[], float]
    on_told: Told
    reports: Reports
    batch_s: float = 0.0
    nan_policy: NanPolicy = NanPolicy.NULL
    _run_time: Histogram = field(init=False)
    _batch_size: Histogram = field(init=False)
    _call: execute.Call = field(init=False)
    _failures: Allowance = field(default_factory=lambda: Allowance(per_s=FAILURES_PER_S, burst=200), init=False)

    def __post_init__(self) -> None:
        self._run_time = metrics.run_time.labels(self.claimant.service_id)
        self._batch_size = metrics.batch_size.labels(self.claimant.service_id)
        self._call = execute.Call(
            engine=self.engine,
            hooks=self.hooks,
            now_s=self.now_s,
            settings=self.settings,
            begin=self._begin,
            nan_policy=self.nan_policy,
        )

    def prepare(self, jobs: Sequence[ClaimedJob]) -> Batch:
        return execute.prepare(jobs, self.hooks)

    def run(self, batch: Batch) -> list[Outcome]:
        began = monotonic_s()
        outcomes = execute.run(batch, self._call)
        self.reports.end()
        took = monotonic_s() - began
        self.batch_s += SMOOTHING * (took - self.batch_s)
        self._run_time.observe(took)
        self._batch_size.observe(sum(job.rows for job in batch.jobs))
        for outcome in outcomes:
            if outcome.error_code is not None:
                self._log_failure(outcome)
        log.debug("batch_done", jobs=len(batch.jobs), took_ms=round(took * 1000, 3))
        return outcomes

    def _log_failure(self, outcome: Outcome) -> None:
        if not self._failures.take():
            return
        job, is_over = outcome.job, outcome.state is not JobState.PENDING
        told: dict[str, object] = {"will_retry": not is_over}
        if unlogged := self._failures.unlogged():
            told["unlogged_before"] = unlogged
        if (trace := trace_of(job.metadata_json)) is not None:
            told["trace_id"] = trace.trace_id
        (log.error if is_over else log.warning)(
            "job_failed",
            service_id=self.claimant.service_id,
            task_id=job.id,
            attempt=job.attempt,
            error_code=outcome.error_code,
            # An engine's error may quote its input: numbers and quoted texts stay with the task.
            reason=fingerprint.normal(outcome.error_message or "")[:FAILURE_CHARS],
            model_version=self.claimant.model_version,
            **told,
        )

    def _begin(self, jobs: Sequence[ClaimedJob]) -> float:
        """Each call has its own time: halves of a batch that failed begin anew."""
        limit_s = max((job.timeout_s for job in jobs), default=1.0)
        self.record.set(Field.BEGAN, monotonic_s())
        self.record.set(Field.EXPECTED, self.batch_s)
        self.enter(drain.Phase.RUNNING, limit_s=limit_s, jobs=len(jobs))
        self.reports.begin(jobs, limit_s=limit_s)
        return limit_s

    def heed_stop(self) -> None:
        """Ends the engine call under way if the parent wishes it, and the engine can; else the parent ends us."""
        wished = self.record.get(Field.STOP)
        if wished and wished == self.record.get(Field.PROGRESS) and isinstance(self.engine, Stoppable):
            self.record.set(Field.STOP, 0)
            self.engine.stop()

    def may_claim_ahead(self) -> bool:
        return self.batch_s < self.ahead_below_s

    def is_stopping(self) -> bool:
        return self.record.get(Field.IS_STOPPING) > 0

    def enter(self, phase: drain.Phase, *, limit_s: float, jobs: int = 0) -> None:
        self.record.enter(PHASES[phase], deadline=monotonic_s() + limit_s if limit_s else 0.0, jobs=jobs)

    def told(self, outcomes: Sequence[Outcome], moved: Mapping[str, Moved]) -> None:
        self.on_told(outcomes, moved)
