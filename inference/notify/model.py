"""A webhook on its way: what is sent, and what became of the last attempt."""

from dataclasses import dataclass
from enum import StrEnum


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One outbox row. `id` is the event's id: `<job>.<generation>.<event>`, the same at every attempt."""

    id: str
    tenant_id: str
    service_id: str
    job_id: str
    generation: int
    event: str
    job_state: str
    url: str
    created_at: float
    due_at: float
    attempts: int
    state: DeliveryState = DeliveryState.PENDING
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an attempt met: an HTTP status, or the reason why there was none. `retry_after_s`: the receiver's wish."""

    status: int | None = None
    error: str | None = None
    is_hopeless: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What an attempt makes of its delivery. `delay_s`: until the next one, for PENDING."""

    state: DeliveryState
    delay_s: float = 0.0
