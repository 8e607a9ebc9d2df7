"""What the notify room needs from outside."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.notify.model import Answer, Delivery, DeliveryState
from inference.settings import NotifySettings
from inference.tracing import Context, Tracer


class Outbox(Protocol):
    """Deliveries, written by the store in the transaction of each move. Raises StoreUnavailable."""

    def take(
        self, *, by: str, limit: int, of_one: int, lease_s: float, busy: Collection[str] = ()
    ) -> Sequence[Delivery]:
        """Those that are due, most overdue first, leased: nobody else gets them within `lease_s`.

        At most `of_one` of each service, and none of the services in `busy`.
        """
        ...

    def settle(self, delivery_id: str, *, by: str, state: DeliveryState, delay_s: float, answer: Answer) -> bool:
        """Records an attempt; False when the lease was somebody else's by then, and nothing was written."""
        ...

    def body(self, delivery: Delivery) -> bytes:
        """What is sent: JSON of `{type, timestamp, data}`; `data` is the task as `GET /tasks/{id}` shows it.

        Once the task has a newer generation, or is gone, `data` holds ids and the state alone.
        """
        ...

    def next_due_s(self) -> float | None:
        """Seconds until something is due, negative when it is; None when nothing waits."""
        ...

    def of_job(self, tenant_id: str, job_id: str) -> Sequence[Delivery]:
        """Every delivery of a job, oldest first; ask for the job itself before."""
        ...

    def resend(self, tenant_id: str, delivery_id: str) -> bool:
        """Due again now, with a fresh budget; whether there is such a delivery that is not under way already."""
        ...

    def delete_settled(self, *, older_than_s: float, limit: int) -> int:
        """Removes deliveries that were settled that long ago; how many."""
        ...


class WebhookSecrets(Protocol):
    """What a tenant's webhooks are signed with."""

    def in_force(self, tenant_id: str) -> Sequence[str]:
        """Newest first; one is made when there is none yet. Raises StoreUnavailable."""
        ...

    def rotate(self, tenant_id: str, secret: str, *, overlap_s: float) -> None:
        """The new secret signs from now on, the one before it for `overlap_s` more. Audited, without the secret."""
        ...


class Post(Protocol):
    """Sends one webhook."""

    def __call__(self, url: str, *, body: bytes, headers: dict[str, str]) -> Answer:
        """Never raises. Follows no redirect, reads the answer's head alone, and gives up after the time limit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPorts:
    """`trace`: to which trace the task of a delivery belongs; asked only where there is a tracer."""

    outbox: Outbox
    secrets: WebhookSecrets
    settings: NotifySettings
    traces: Tracer | None = None
    trace: Callable[[Delivery], Context | None] = lambda _: None
