"""Rows of the reference store, and what it notes of their changes."""

from collections.abc import Iterable
from dataclasses import dataclass

from inference.jobs.model import FINAL, ClaimedJob, JobState, NewJob
from tests.chaos.history import Move


@dataclass(slots=True)
class Row:
    """A row of `jobs`, with its payload."""

    new: NewJob
    priority: int
    order_key: float
    deadline: float | None
    state: JobState = JobState.PENDING
    not_before: float | None = None
    generation: int = 1
    attempt: int = 0
    crashes: int = 0
    batch_cap: int = 0
    instance_id: str | None = None
    instance_generation: int | None = None
    claimed_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    cancel_requested_at: float | None = None
    batch_size: int | None = None
    worker: str | None = None
    model_version: str | None = None
    error_code: str | None = None

    @property
    def id(self) -> str:
        return self.new.id

    @property
    def is_claimable(self) -> bool:
        return self.state is JobState.PENDING and self.not_before is None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    def claimed(self) -> ClaimedJob:
        """What an instance gets to see of it."""
        new = self.new
        return ClaimedJob(
            id=new.id,
            tenant_id=new.tenant_id,
            attempt=self.attempt,
            max_attempts=new.max_attempts,
            priority=self.priority,
            bucket=new.bucket,
            rows=new.rows,
            crashes=self.crashes,
            submitted_at=new.submitted_at,
            claimed_at=self.claimed_at or 0.0,
            deadline=self.deadline,
            timeout_s=new.timeout_s,
            metadata_json=new.metadata_json,
            payload=new.payload,
            key_id=new.key_id,
            callback_events=new.callback_events,
            generation=self.generation,
        )


@dataclass(slots=True)
class AttemptRow:
    """A row of `attempts`."""

    job_id: str
    generation: int
    attempt: int
    instance_id: str | None
    outcome: str
    error_code: str | None
    batch_size: int | None = None


@dataclass(slots=True)
class Instance:
    """A row of `instances`."""

    service_id: str
    generation: int
    lease_until: float
    pid: int = 0


class Moves:
    """Every change of a row, in order, as the triggers of `tests.chaos.trace` note it."""

    def __init__(self) -> None:
        self.seen: list[Move] = []

    def note(self, row: Row, before: JobState | None, now: float) -> None:
        self.seen.append(
            Move(
                seq=len(self.seen),
                at=now,
                job_id=row.new.id,
                service_id=row.new.service_id,
                before=before,
                state=row.state,
                generation=row.generation,
                attempt=row.attempt,
                is_claimable=row.state is JobState.PENDING and row.not_before is None,
                is_cancel_asked=row.cancel_requested_at is not None,
                order_key=row.order_key,
                instance_id=row.instance_id,
                instance_generation=row.instance_generation,
            )
        )


def in_queue_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.order_key, row.new.id))
