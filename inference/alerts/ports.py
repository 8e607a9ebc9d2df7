"""What the alerts room needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.access.model import Scope
from inference.access.ports import TenantStore
from inference.alerts.model import Alert, Order, OrderState, Phase, Rule, Silence, Subject
from inference.notify.model import Answer
from inference.notify.ports import WebhookSecrets
from inference.serving.ports import ServingPorts
from inference.setting_rooms import AlertsSettings
from inference.telemetry.series import Span


class RuleStore(Protocol):
    """Rules that somebody made or changed, and silences; every change is audited. Raises StoreUnavailable."""

    def rules(self, tenant_id: str | None) -> Sequence[Rule]:
        """Of one tenant, or of all; also those of removed defaults."""
        ...

    def save(self, rule: Rule, *, before: Rule | None) -> Rule:
        """Inserts, or replaces the one with its id. Raises NameExists for a name in use by another rule."""
        ...

    def delete(self, rule: Rule) -> None: ...

    def silences(self, tenant_id: str | None, *, now: float) -> Sequence[Silence]:
        """Those that are not over, newest first."""
        ...

    def silence(self, silence: Silence) -> Silence: ...

    def unsilence(self, tenant_id: str, silence_id: str) -> None:
        """Raises SilenceNotFound."""
        ...


class AlertStore(Protocol):
    """Alerts and their orders. Raises StoreUnavailable."""

    def now_s(self) -> float: ...

    def active(self) -> Sequence[Alert]:
        """Pending and firing ones of all tenants."""
        ...

    def begin(self, alert: Alert) -> bool:
        """Inserts it; False when this rule and service have an active one already."""
        ...

    def note(self, alert: Alert) -> None:
        """Keeps its value and the time since when it is quiet."""
        ...

    def fire(self, alert: Alert) -> bool:
        """From pending to firing; whether it was pending."""
        ...

    def drop(self, alert: Alert) -> None:
        """A pending one goes without a trace."""
        ...

    def tell(self, alert: Alert, orders: Sequence[Order]) -> bool:
        """Gives the orders of a firing alert, in one transaction; False when they were given before."""
        ...

    def resolve(self, alert: Alert, orders: Sequence[Order]) -> bool:
        """From firing to resolved, with its orders, in one transaction; whether it was firing."""
        ...

    def list(
        self, scope: Scope, *, phase: Phase | None, service_id: str | None, limit: int, before_id: str | None
    ) -> Sequence[Alert]:
        """Firing and resolved ones, newest first."""
        ...

    def orders_of(self, tenant_id: str, alert_ids: Collection[str]) -> Sequence[Order]: ...

    def take(self, *, by: str, limit: int, lease_s: float) -> Sequence[tuple[Order, Alert]]:
        """Orders that are due, leased: nobody else gets them within `lease_s`."""
        ...

    def settle(self, order: Order, *, by: str, state: OrderState, delay_s: float, note: str | None) -> bool:
        """Records an attempt; False when the lease was somebody else's by then."""
        ...

    def last_done(self, *, tenant_id: str, service_id: str, kind: str) -> float | None:
        """When such an order was last carried out for the service."""
        ...

    def forget(self, *, keep_s: float, limit: int) -> int:
        """Removes what was resolved that long ago, with its orders, and silences that are over; how many alerts."""
        ...


class Sources(Protocol):
    """Where values come from. Each is read once for all services. Raises StoreUnavailable."""

    def subjects(self, tenant_id: str | None = None) -> Sequence[Subject]:
        """Every service, of one tenant or of all."""
        ...

    def spans(self, *, step_s: int, since: int, until: int) -> Sequence[Span]: ...

    def oldest_s(self, tenant_id: str | None = None) -> Mapping[str, float]:
        """How long the oldest task waits, for services (of one tenant or of all) where any does."""
        ...

    def load_failures(self) -> Mapping[str, int]:
        """In a row, the most of any replica; for services that have any."""
        ...

    def moves(self, *, since: float) -> Mapping[str, Sequence[tuple[float, str, str]]]:
        """(when, from state, to state) of services, by time."""
        ...

    def budgets_used(self) -> Mapping[tuple[str, str], float]:
        """By tenant and service (empty: of the tenant), what is spent of the soft limit, for budgets that have one."""
        ...

    def log_entries(self, service_id: str, *, level: str, keyword: str, since: float, until: float) -> int: ...


class Turns(Protocol):
    """Who evaluates."""

    def hold(self, name: str, *, by: str, for_s: float) -> bool: ...


class Post(Protocol):
    def __call__(self, url: str, *, body: bytes, headers: dict[str, str]) -> Answer: ...


class Mail(Protocol):
    def __call__(self, *, to: Sequence[str], subject: str, text: str, message_id: str) -> Answer:
        """Sends one message. Never raises. `message_id` is the same at each attempt."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPorts:
    rules: RuleStore
    alerts: AlertStore
    sources: Sources
    turns: Turns
    serving: ServingPorts
    tenants: TenantStore
    secrets: WebhookSecrets
    settings: AlertsSettings
