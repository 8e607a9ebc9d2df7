"""What is measured of a service: the work that ended in a span of time, how it stood, and the figures made of both."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from inference.telemetry.percentiles import Sketch


class Work(msgspec.Struct, kw_only=True):
    """What ended. `completed` counts tasks and predictions, `predictions` those alone; `other`: cancelled or expired.

    The sums and sketches are of what completed: from submission to the end (`latency`), in the engine (`run`), before
    it (`wait`). A prediction is known by its latency alone. `batches`: engine calls behind tasks that ran.
    """

    completed: int = 0
    failed: int = 0
    other: int = 0
    predictions: int = 0
    tasks_run: int = 0
    batches: float = 0.0
    latency_s: float = 0.0
    run_s: float = 0.0
    wait_s: float = 0.0
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    latencies: Sketch = msgspec.field(default_factory=Sketch)
    waits: Sketch = msgspec.field(default_factory=Sketch)

    @property
    def ended(self) -> int:
        """Tasks that left the queue for good."""
        return self.completed - self.predictions + self.failed + self.other

    def merge(self, more: "Work") -> None:
        """Adds what another span saw."""
        self.completed += more.completed
        self.failed += more.failed
        self.other += more.other
        self.predictions += more.predictions
        self.tasks_run += more.tasks_run
        self.batches += more.batches
        self.latency_s += more.latency_s
        self.run_s += more.run_s
        self.wait_s += more.wait_s
        if more.errors:
            self.errors.update(more.errors)
        self.latencies.merge(more.latencies)
        self.waits.merge(more.waits)


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How a service stood at a moment. None: nobody said. `cpu` is in cores, `gpu_share` from 0 to 1.

    `gpu_source`: where the GPU's figures come from (nvml, static, replay); they are those of the whole cards that the
    replicas are on, since a card does not tell who used it.
    """

    queue_length: int = 0
    running: int = 0
    instances: int = 0
    cpu: float | None = None
    memory_bytes: float | None = None
    gpu_share: float | None = None
    gpu_memory_bytes: float | None = None
    gpu_source: str | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of one service over the second that ended at `at`; rates are per second, durations in seconds.

    None: nothing completed in that second, or nobody said. What has its default is left out on the way.
    """

    submitted: float = 0.0
    throughput: float = 0.0
    predictions: float = 0.0
    errors: float = 0.0
    error_codes: dict[str, int] = msgspec.field(default_factory=dict)
    error_ratio: float | None = None
    latency: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    latency_p99: float | None = None
    run_time: float | None = None
    queue_wait: float | None = None
    queue_wait_p95: float | None = None
    queue_length: int = 0
    running: int = 0
    batch_size: float | None = None
    batch_fill: float | None = None
    instances_ready: int = 0
    cpu: float | None = None
    memory_bytes: float | None = None
    gpu: float | None = None
    gpu_memory_bytes: float | None = None
    gpu_source: str | None = None


METRICS: tuple[str, ...] = Sample.__struct_fields__
"""The names that a client may ask for."""

QUIET = Sample()
"""Of a service that nobody had anything to say of."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one moment. `is_whole`: the second is one of the clock's, the one that the series keep."""

    at: float
    is_whole: bool
    services: dict[str, Sample]

    def of(self, service_id: str) -> Sample:
        """A service that is not named was quiet."""
        return self.services.get(service_id, QUIET)


def sample(work: Work, look: Look, *, span_s: float, submitted: float = 0.0, max_batch: int = 0) -> Sample:
    """The figures of a span. `submitted` is a rate already; `max_batch` 0 when nobody measured it."""
    done, tasks = work.completed, work.completed - work.predictions
    p50, p95, p99 = work.latencies.quantiles(0.5, 0.95, 0.99)
    batch = work.tasks_run / work.batches if work.batches else None
    return Sample(
        submitted=round(submitted, 6),
        throughput=round(done / span_s, 6),
        predictions=round(work.predictions / span_s, 6),
        errors=round(work.failed / span_s, 6),
        error_codes=dict(work.errors),
        error_ratio=_ratio(work.failed, done + work.failed),
        latency=_ratio(work.latency_s, done),
        latency_p50=_rounded(p50),
        latency_p95=_rounded(p95),
        latency_p99=_rounded(p99),
        run_time=_ratio(work.run_s, tasks),
        queue_wait=_ratio(work.wait_s, tasks),
        queue_wait_p95=_rounded(work.waits.quantile(0.95)),
        queue_length=look.queue_length,
        running=look.running,
        batch_size=_rounded(batch),
        batch_fill=None if batch is None or not max_batch else min(1.0, round(batch / max_batch, 4)),
        instances_ready=look.instances,
        cpu=look.cpu,
        memory_bytes=look.memory_bytes,
        gpu=look.gpu_share,
        gpu_memory_bytes=look.gpu_memory_bytes,
        gpu_source=look.gpu_source,
    )


def chosen(sample: Sample, metrics: Iterable[str]) -> Mapping[str, object]:
    """These of its figures, by name."""
    return {name: getattr(sample, name) for name in metrics}


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)
