"""Rows of the series, added up: the figures of a range, and the moments of its plots. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from inference.reports.model import Figures, Moment
from inference.telemetry.sample import Work
from inference.telemetry.series import Span

GAUGES = ("instances", "cpu", "memory_bytes", "gpu_share", "gpu_memory_bytes")
ADDED = ("instances", "cpu", "memory_bytes", "gpu_memory_bytes")
"""Of several services these are added; of the busy share of their cards the mean is told."""


@dataclass(slots=True)
class Sum:
    """Of one service: what happened, and each gauge over the seconds in which somebody looked."""

    work: Work = field(default_factory=Work)
    submitted: int = 0
    queue_s: float = 0.0
    queue_most: int = 0
    gauges: dict[str, tuple[float, int]] = field(default_factory=dict)
    gpu_source: str | None = None

    def add(self, span: Span) -> None:
        self.work.merge(span.work)
        self.submitted += span.submitted
        self.queue_s += span.queue_s
        self.queue_most = max(self.queue_most, span.queue_most)
        self.gpu_source = span.gpu_source or self.gpu_source
        for name in GAUGES:
            value = getattr(span, name)
            if value is not None and span.looks:
                total, looks = self.gauges.get(name, (0.0, 0))
                self.gauges[name] = total + value * span.looks, looks + span.looks

    def gauge(self, name: str) -> float | None:
        total, looks = self.gauges.get(name, (0.0, 0))
        return total / looks if looks else None


def by_service(spans: Iterable[Span]) -> Mapping[str, Sum]:
    """What each service did."""
    sums: defaultdict[str, Sum] = defaultdict(Sum)
    for span in spans:
        sums[span.service_id].add(span)
    return sums


def figures(
    sums: Iterable[Sum],
    *,
    span_s: float,
    max_batch: int = 0,
    money: float | None = None,
    idle_money: float | None = None,
) -> Figures:
    """Of one service, or of several together. `max_batch` 0 where nobody measured it, or where there are several."""
    found = list(sums)
    whole = Work()
    for one in found:
        whole.merge(one.work)
    tasks = whole.completed - whole.predictions
    p50, p95, p99 = whole.latencies.quantiles(0.5, 0.95, 0.99)
    batch = whole.tasks_run / whole.batches if whole.batches else None
    return Figures(
        span_s=span_s,
        done=whole.completed,
        predictions=whole.predictions,
        failed=whole.failed,
        other=whole.other,
        submitted=sum(one.submitted for one in found),
        p50_s=p50,
        p95_s=p95,
        p99_s=p99,
        run_s=whole.run_s / tasks if tasks else None,
        wait_s=whole.wait_s / tasks if tasks else None,
        wait_p95_s=whole.waits.quantile(0.95),
        queue=sum(one.queue_s for one in found) / span_s if span_s else 0.0,
        queue_most=max((one.queue_most for one in found), default=0),
        batch=batch,
        batch_fill=None if batch is None or not max_batch else min(1.0, batch / max_batch),
        gpu=_mean([one.gauge("gpu_share") for one in found]),
        gpu_source=next((one.gpu_source for one in found if one.gpu_source), None),
        money=money,
        idle_money=idle_money,
        errors=dict(whole.errors.most_common()),
        **{name: _total([one.gauge(name) for one in found]) for name in ADDED},
    )


def moments(spans: Iterable[Span], *, since: int, until: int, step_s: int) -> Sequence[Moment]:
    """One for each step of the range, in order; also of those in which nothing happened."""
    begin = since - since % step_s
    steps: defaultdict[int, list[Span]] = defaultdict(list)
    for span in spans:
        steps[span.at - span.at % step_s].append(span)
    return [_moment(at, steps[at], step_s) for at in range(begin, until, step_s)]


def _moment(at: int, spans: Sequence[Span], step_s: int) -> Moment:
    if not spans:
        return Moment(at=at)
    sums = by_service(spans).values()
    told = figures(sums, span_s=step_s)
    return Moment(
        at=at,
        per_s=told.per_s,
        failed_per_s=told.failed / step_s,
        p50_s=told.p50_s,
        p95_s=told.p95_s,
        p99_s=told.p99_s,
        wait_p95_s=told.wait_p95_s,
        queue_most=told.queue_most,
        gpu=told.gpu,
        cpu=told.cpu,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
