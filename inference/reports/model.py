"""Reports: what is asked for, how it stands, what it tells, and the schedules by which reports come by themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class ReportState(StrEnum):
    """`pending -> running -> completed | failed`; from `running` it is taken again when its maker's lease is over."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


UNDER_WAY = (ReportState.PENDING, ReportState.RUNNING)


class Format(StrEnum):
    HTML = "html"
    PDF = "pdf"


MEDIA: Mapping[Format, str] = {Format.HTML: "text/html; charset=utf-8", Format.PDF: "application/pdf"}


class Every(StrEnum):
    """The day before, or the Monday to Sunday before, in the schedule's time zone."""

    DAY = "day"
    WEEK = "week"


LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`service_id` empty: of the whole tenant. `since` to before `until`, epoch seconds. `attempt` fences its maker.

    `mail_to`, `post_to`: who is told once it is over; `tell_note`: what became of the last try to.
    """

    id: str
    tenant_id: str
    service_id: str
    format: Format
    language: str
    timezone: str
    since: float
    until: float
    schedule_id: str | None = None
    state: ReportState = ReportState.PENDING
    attempt: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    summary: str | None = None
    size_bytes: int | None = None
    mail_to: tuple[str, ...] = ()
    post_to: str = ""
    tell_attempts: int = 0
    mailed_at: float | None = None
    posted_at: float | None = None
    tell_note: str | None = None

    @property
    def is_to_tell(self) -> bool:
        """Whether somebody waits to be told of its end."""
        return bool((self.mail_to and self.mailed_at is None) or (self.post_to and self.posted_at is None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`at`: the time of day, `HH:MM` in `timezone`; weekly ones come on Mondays. `next_at`: when it is due."""

    id: str
    tenant_id: str
    service_id: str
    every: Every
    at: str
    timezone: str
    format: Format
    language: str
    mail_to: tuple[str, ...] = ()
    post_to: str = ""
    next_at: float = 0.0
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured over a range. Durations in seconds, shares from 0 to 1; None: nobody said, or nothing ran.

    `done` counts tasks and predictions that completed. `cpu` is in cores. `money`: of the days of the range.
    """

    span_s: float
    done: int = 0
    predictions: int = 0
    failed: int = 0
    other: int = 0
    submitted: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    run_s: float | None = None
    wait_s: float | None = None
    wait_p95_s: float | None = None
    queue: float = 0.0
    queue_most: int = 0
    batch: float | None = None
    batch_fill: float | None = None
    instances: float | None = None
    cpu: float | None = None
    memory_bytes: float | None = None
    gpu: float | None = None
    gpu_memory_bytes: float | None = None
    gpu_source: str | None = None
    money: float | None = None
    idle_money: float | None = None
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def per_s(self) -> float:
        return self.done / self.span_s if self.span_s else 0.0

    @property
    def error_ratio(self) -> float | None:
        ended = self.done + self.failed
        return self.failed / ended if ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A step of the plots; None: nothing completed, or nobody said."""

    at: float
    per_s: float = 0.0
    failed_per_s: float = 0.0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    wait_p95_s: float | None = None
    queue_most: int = 0
    gpu: float | None = None
    cpu: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A service that the report is about. `max_batch` 0: nobody measured its model."""

    id: str
    name: str
    state: str
    max_batch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowTask:
    """Times in epoch seconds; `started_at` None: it was never in an engine."""

    id: str
    service_id: str
    submitted_at: float
    started_at: float | None
    completed_at: float
    worker: str | None = None

    @property
    def latency_s(self) -> float:
        return self.completed_at - self.submitted_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCase:
    """How often a code came, and the newest task that had it."""

    code: str
    count: int
    task_id: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSeen:
    """An alert that fired in the range, or before it and was not over."""

    name: str
    metric: str
    severity: str
    service_id: str
    fired_at: float
    resolved_at: float | None
    value: float | None
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a report tells, in one language or another.

    `begins`, `ends`: what the figures cover, which is the range asked for, or a little more where only whole minutes or
    hours are kept. `of_services`: figures by service, where there are several. `is_measured` False: no sampler ran.
    """

    begins: float
    ends: float
    made_at: float
    subjects: Sequence[Subject]
    now: Figures
    before: Figures
    moments: Sequence[Moment]
    step_s: int
    of_services: Mapping[str, Figures]
    errors: Sequence[ErrorCase]
    slowest: Sequence[SlowTask]
    alerts: Sequence[AlertSeen]
    alerts_more: int
    currency: str
    is_measured: bool
