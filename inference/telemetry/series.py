"""Series: spans of seconds, minutes and hours; which of them answer a question, and how they add up."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from inference.errors import InvalidField
from inference.settings import TelemetrySettings
from inference.telemetry.sample import Look, Sample, Work, sample

SECOND, MINUTE, FIVE_MINUTES, HOUR, DAY = 1, 60, 300, 3_600, 86_400
WIDTHS = (SECOND, MINUTE, FIVE_MINUTES, HOUR, DAY)
MOST_POINTS = 4_000
"""Of one answer: an hour by the second, sixty by the minute, a week by five minutes. Each takes some 40 us of CPU."""
MOST_ROWS = 5_000
"""That one answer is made of. To add one up takes some 40 us, too."""
EASY_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)
EASY_POINTS = 300
"""A step that nobody chose gives at most so many."""


class Span(msgspec.Struct, kw_only=True):
    """One service from `at` on, for `step_s` seconds. Without a row nothing happened.

    `queue_s` and `running_s` are sums over seconds, so their mean is over the whole span; the gauges are means over
    `looks`, the seconds in which somebody looked.
    """

    service_id: str
    step_s: int
    at: int
    work: Work = msgspec.field(default_factory=Work)
    submitted: int = 0
    queue_s: float = 0.0
    running_s: float = 0.0
    queue_most: int = 0
    looks: int = 0
    instances: float | None = None
    cpu: float | None = None
    memory_bytes: float | None = None
    gpu_share: float | None = None
    gpu_memory_bytes: float | None = None
    gpu_source: str | None = None

    def merge(self, more: "Span") -> None:
        """Adds another one of the same service."""
        self.work.merge(more.work)
        self.submitted += more.submitted
        self.queue_s += more.queue_s
        self.running_s += more.running_s
        self.queue_most = max(self.queue_most, more.queue_most)
        mine, its = self.looks, more.looks
        self.instances = _mean(self.instances, mine, more.instances, its)
        self.cpu = _mean(self.cpu, mine, more.cpu, its)
        self.memory_bytes = _mean(self.memory_bytes, mine, more.memory_bytes, its)
        self.gpu_share = _mean(self.gpu_share, mine, more.gpu_share, its)
        self.gpu_memory_bytes = _mean(self.gpu_memory_bytes, mine, more.gpu_memory_bytes, its)
        self.looks += more.looks
        self.gpu_source = more.gpu_source or self.gpu_source


def _mean(one: float | None, weight: int, other: float | None, more: int) -> float | None:
    if one is None or not weight:
        return other
    if other is None or not more:
        return one
    return (one * weight + other * more) / (weight + more)


def second(service_id: str, at: int, work: Work, look: Look | None, *, submitted: int) -> Span:
    """The row of one second; without a look it says only what ended."""
    if look is None:
        return Span(service_id=service_id, step_s=SECOND, at=at, work=work, submitted=submitted)
    return Span(
        service_id=service_id,
        step_s=SECOND,
        at=at,
        work=work,
        submitted=submitted,
        queue_s=look.queue_length,
        running_s=look.running,
        queue_most=look.queue_length,
        looks=1,
        instances=look.instances,
        cpu=look.cpu,
        memory_bytes=look.memory_bytes,
        gpu_share=look.gpu_share,
        gpu_memory_bytes=look.gpu_memory_bytes,
        gpu_source=look.gpu_source,
    )


def rolled(spans: Iterable[Span], step_s: int) -> Iterator[Span]:
    """These spans in wider ones that begin at multiples of `step_s`, by service and time. In any order."""
    found: dict[tuple[str, int], list[Span]] = {}
    for span in spans:
        found.setdefault((span.service_id, span.at - span.at % step_s), []).append(span)
    for (service_id, at), parts in sorted(found.items()):
        if len(parts) == 1:  # as it is, since sums are dear by the thousand
            yield parts[0] if parts[0].step_s == step_s else msgspec.structs.replace(parts[0], step_s=step_s, at=at)
            continue
        wide = Span(service_id=service_id, step_s=step_s, at=at)
        for span in parts:
            wide.merge(span)
        yield wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """From `since` until before `until`, in steps; both are multiples of the step."""

    since: int
    until: int
    step_s: int


def question(
    since: float | None, until: float | None, step_s: int | None, *, now: float, kept: TelemetrySettings
) -> Question:
    """What is asked for, with what was not said: the last hour, and a step that gives some hundred points.

    A range that begins before there are seconds is answered in minutes. Raises InvalidField.
    """
    end = now if until is None else min(until, now)
    begin = end - HOUR if since is None else since
    if begin >= end or end <= now - kept.keep_hours_s:
        if since is not None and until is not None and until <= since:
            raise InvalidField("`from` must be before `to`.", field="from")
        return Question(
            since=0, until=0, step_s=step_s or SECOND
        )  # of that nothing is known: it is to come, or long gone
    begin = max(begin, 0.0, now - kept.keep_hours_s)  # before it nothing is kept
    if step_s is None:
        least = (end - begin) / EASY_POINTS
        if begin < now - kept.keep_seconds_s:
            least = max(least, MINUTE)
        step_s = next((easy for easy in EASY_STEPS if easy >= least), EASY_STEPS[-1])
    if step_s >= MINUTE and step_s % MINUTE:
        raise InvalidField("`step` must be below 60, or a multiple of 60 seconds.", field="step")
    asked = Question(since=int(begin // step_s * step_s), until=int(-(-end // step_s) * step_s), step_s=step_s)
    if (points := (asked.until - asked.since) // step_s) > MOST_POINTS:
        raise InvalidField(
            f"That would be {points} points, and {MOST_POINTS} is the most; choose a larger `step` or a shorter range.",
            field="step",
        )
    if (asked.until - asked.since) // width(step_s) > MOST_ROWS:
        raise InvalidField(
            "That would be added up from too much; choose a multiple of 300 or 3600 seconds as `step`, or a day, or a "
            "shorter range.",
            field="step",
        )
    return asked


def width(step_s: int) -> int:
    """The widest rows of which steps can be made without cutting one in two."""
    return next(wide for wide in reversed(WIDTHS) if step_s % wide == 0)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an answer. `queue_most`: the longest queue of its seconds."""

    at: int
    figures: Sample
    queue_most: int


def points(spans: Iterable[Span], asked: Question, *, now: float) -> Sequence[Point]:
    """A point for each step in which something happened. The step that is not over yet counts for what is of it."""
    return [_point(span, asked.step_s, now) for span in rolled(spans, asked.step_s)]


def _point(span: Span, step_s: int, now: float) -> Point:
    span_s = max(1.0, min(step_s, now - span.at))
    look = Look(
        queue_length=round(span.queue_s / span_s),
        running=round(span.running_s / span_s),
        instances=round(span.instances or 0),
        cpu=span.cpu,
        memory_bytes=span.memory_bytes,
        gpu_share=span.gpu_share,
        gpu_memory_bytes=span.gpu_memory_bytes,
        gpu_source=span.gpu_source,
    )
    figures = sample(span.work, look, span_s=span_s, submitted=span.submitted / span_s)
    return Point(at=span.at, figures=figures, queue_most=span.queue_most)
