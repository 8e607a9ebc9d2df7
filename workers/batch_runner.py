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
from inference.jobs.model import Claimant, ClaimedJob, Moved, Outcome
from inference.settings import JobsSettings
from inference.telemetry import metrics
from inference.tensors import NanPolicy
from workers.pulse import Field, Phase, Record

log = structlog.get_logger(__name__)

PHASES = {
    drain.Phase.IDLE: Phase.IDLE,
    drain.Phase.CLAIMING: Phase.CLAIMING,
    drain.Phase.RUNNING: Phase.RUNNING,
    drain.Phase.FINISHING: Phase.FINISHING,
}
SMOOTHING = 0.2

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
    batch_s: float = 0.0
    nan_policy: NanPolicy = NanPolicy.NULL
    _run_time: Histogram = field(init=False)
    _batch_size: Histogram = field(init=False)
    _call: execute.Call = field(init=False)

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
        took = monotonic_s() - began
        self.batch_s += SMOOTHING * (took - self.batch_s)
        self._run_time.observe(took)
        self._batch_size.observe(sum(job.rows for job in batch.jobs))
        log.debug("batch_done", jobs=len(batch.jobs), took_ms=round(took * 1000, 3))
        return outcomes

    def _begin(self, jobs: Sequence[ClaimedJob]) -> float:
        """Each call has its own time: halves of a batch that failed begin anew."""
        limit_s = max((job.timeout_s for job in jobs), default=1.0)
        self.record.set(Field.BEGAN, monotonic_s())
        self.record.set(Field.EXPECTED, self.batch_s)
        self.enter(drain.Phase.RUNNING, limit_s=limit_s, jobs=len(jobs))
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
