"""Rules, alerts, silences, and the orders that an alert gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Compare(StrEnum):
    """On which side of the threshold it is bad."""

    ABOVE = "above"
    BELOW = "below"


class Metric(StrEnum):
    """What a rule looks at. Shares are from 0 to 1, durations in seconds.

    `queue_age`: of the oldest waiting task. `load_failures`: of a replica, in a row. `availability`: of the time in
    which the service was meant to run. `budget_used`: spent, of the soft limit. `log_rate`: entries a minute.
    """

    ERROR_RATIO = "error_ratio"
    LATENCY = "latency"
    LATENCY_P95 = "latency_p95"
    LATENCY_P99 = "latency_p99"
    QUEUE_WAIT_P95 = "queue_wait_p95"
    QUEUE_LENGTH = "queue_length"
    THROUGHPUT = "throughput"
    CPU = "cpu"
    MEMORY_BYTES = "memory_bytes"
    GPU = "gpu"
    QUEUE_AGE = "queue_age"
    LOAD_FAILURES = "load_failures"
    AVAILABILITY = "availability"
    BUDGET_USED = "budget_used"
    LOG_RATE = "log_rate"


SHARES = frozenset({Metric.ERROR_RATIO, Metric.GPU, Metric.AVAILABILITY})
SAMPLED = (
    Metric.ERROR_RATIO,
    Metric.LATENCY,
    Metric.LATENCY_P95,
    Metric.LATENCY_P99,
    Metric.QUEUE_WAIT_P95,
    Metric.QUEUE_LENGTH,
    Metric.THROUGHPUT,
    Metric.CPU,
    Metric.MEMORY_BYTES,
    Metric.GPU,
)
"""Those that the sampler measures, under the same names."""


class ActionKind(StrEnum):
    LOG = "log"
    EMAIL = "email"
    WEBHOOK = "webhook"
    SCALE = "scale"
    RESTART = "restart"


TELLING = frozenset({ActionKind.LOG, ActionKind.EMAIL, ActionKind.WEBHOOK})
"""Actions that tell of the end as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`to`: of e-mail. `url`: of a webhook. `by`, `max_replicas`: of scale. `cooldown_s`: of scale and restart."""

    kind: ActionKind
    to: tuple[str, ...] = ()
    url: str = ""
    by: int = 1
    max_replicas: int = 1
    cooldown_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`service_id` empty: each service of the tenant by itself. Times are epoch seconds.

    It fires once its metric, over the last `window_s`, has been bad for `for_s` on end, and resolves when it is back
    past `resolve_threshold`. `log_level`, `log_keyword`: which entries `log_rate` counts. `is_removed`: a default
    rule that a tenant does not want.
    """

    id: str
    tenant_id: str
    name: str
    metric: Metric
    threshold: float
    compare: Compare = Compare.ABOVE
    resolve_threshold: float | None = None
    service_id: str = ""
    window_s: float = 60.0
    for_s: float = 60.0
    severity: Severity = Severity.WARNING
    actions: tuple[Action, ...] = (Action(kind=ActionKind.LOG),)
    log_level: str = "error"
    log_keyword: str = ""
    is_enabled: bool = True
    is_default: bool = False
    is_removed: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0


class Phase(StrEnum):
    """`pending`: bad, and not for long enough yet."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a rule stands for one service; None in its place: nothing is wrong. `quiet_since`: no value since then."""

    phase: Phase
    since: float
    value: float | None
    quiet_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One episode of a rule and a service. At most one that is not resolved exists for each pair.

    `told_at`: when its orders were given; None while it is silenced. `value` is that of the last change.
    """

    id: str
    rule_id: str
    tenant_id: str
    service_id: str
    name: str
    metric: Metric
    severity: Severity
    threshold: float
    phase: Phase
    began_at: float
    value: float | None = None
    quiet_since: float | None = None
    fired_at: float | None = None
    resolved_at: float | None = None
    told_at: float | None = None

    @property
    def state(self) -> State:
        return State(phase=self.phase, since=self.began_at, value=self.value, quiet_since=self.quiet_since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts that match are seen and give no orders until then. An empty matcher matches everything of the tenant."""

    id: str
    tenant_id: str
    until: float
    rule_id: str = ""
    service_id: str = ""
    severity: str = ""
    comment: str = ""
    created_at: float = 0.0

    def covers(self, alert: Alert, now: float) -> bool:
        """Whether this alert is silenced by it now."""
        return (
            now < self.until
            and self.tenant_id == alert.tenant_id
            and self.rule_id in ("", alert.rule_id)
            and self.service_id in ("", alert.service_id)
            and self.severity in ("", alert.severity.value)
        )


class Event(StrEnum):
    FIRED = "fired"
    RESOLVED = "resolved"


class OrderState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An action on its way: written with what caused it, carried out at least once. `id` is the same at each attempt.

    `SKIPPED`: there was nothing to do (the most replicas are there, or the cool-down is not over); `note` says why.
    """

    id: str
    alert_id: str
    rule_id: str
    tenant_id: str
    service_id: str
    event: Event
    action: Action
    state: OrderState = OrderState.PENDING
    attempts: int = 0
    note: str | None = None
    created_at: float = 0.0
    settled_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A service as rules see it."""

    id: str
    tenant_id: str
    name: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a rule found at a service; None: nothing can be said. `details` are for people."""

    rule: Rule
    service_id: str
    value: float | None
    details: Mapping[str, Any] = field(default_factory=dict)
