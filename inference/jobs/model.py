"""A job: its states, the moves between them, and the data that crosses the room's walls."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from inference.errors import PenstockError

# What is made for every job that runs is a msgspec.Struct, frozen like the rest: a frozen dataclass of 17 fields takes
# 7 us to make, this 0.5.


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED})

MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset(
        {JobState.PENDING, JobState.COMPLETED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED}
    ),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.DEAD: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.EXPIRED: frozenset(),
}
"""Within a generation; retry and requeue begin a new one, at PENDING."""

MAX_PRIORITY = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What a client asks for, checked: one job, not yet a row.

    `payload`: packed tensors (`tensors.pack`). `rows`: length of the batch axis. `bucket`: the shape key; jobs
    of one bucket may share an engine call. `deadline`: epoch seconds by which it must have been started.
    """

    payload: bytes
    rows: int
    bucket: str
    priority: int = 0
    timeout_s: float | None = None
    deadline: float | None = None
    callback_url: str | None = None
    callback_events: int = 1
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A row about to be inserted. `asked_service_id`: the service that it was sent to, where that is another one.

    `input_key`: what jobs of equal inputs have in common, where the service lets them share; see `jobs.cache`.
    """

    id: str
    tenant_id: str
    service_id: str
    priority: int
    order_key: float
    submitted_at: float
    deadline: float | None
    timeout_s: float
    max_attempts: int
    bucket: str
    rows: int
    callback_url: str | None
    metadata_json: str | None
    payload: bytes
    key_id: str | None = None
    callback_events: int = 1
    asked_service_id: str | None = None
    input_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one request hands to the committer: its jobs, all of one service, and the key they were sent with, if any.

    `slots`: drains that the service may have, for the bell. `refusal`: the answer unless the key is known already.
    `may_hit`: an answer that was kept may do for its jobs.
    """

    tenant_id: str
    jobs: tuple[NewJob, ...]
    idempotency_key: str | None = None
    body_hash: bytes = b""
    slots: int = 1
    refusal: PenstockError | None = None
    may_hit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The committed ids, in the order of the inputs. `is_replay`: they were committed by an earlier request.

    `cached_ids`: those that an answer which was kept has completed already.
    """

    job_ids: tuple[str, ...]
    created_at: float
    is_replay: bool = False
    cached_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """One engine instance at one moment of its life; `generation` fences what an earlier life did.

    `variant`: how the keys of the inputs begin whose answers are its own to share; empty: none are.
    """

    service_id: str
    instance_id: str
    generation: int
    worker: str
    model_version: str
    model_id: str = ""
    variant: str = ""


class ClaimedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the hands of an instance. `generation` and `attempt` are its fencing token.

    `crashes`: how many earlier attempts ended in a crash with mates, which costs nobody's budget.
    """

    id: str
    tenant_id: str
    attempt: int
    max_attempts: int
    priority: int
    bucket: str
    rows: int
    crashes: int
    submitted_at: float
    claimed_at: float
    deadline: float | None
    timeout_s: float
    metadata_json: str | None
    payload: bytes
    key_id: str | None = None
    callback_events: int = 1
    generation: int = 1
    asked_service_id: str | None = None
    input_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One batch. `is_full`: the backlog held more; another slot may be rung.

    `shared_ids`: waiting jobs that what was finished in the same transaction has completed, their inputs being equal.
    """

    jobs: tuple[ClaimedJob, ...] = ()
    is_full: bool = False
    expired_ids: tuple[str, ...] = ()
    shared_ids: tuple[str, ...] = ()


class ResultRef(msgspec.Struct, frozen=True, kw_only=True):
    """A result too large for its row: the content under `sha256` in the blob store is its JSON text."""

    sha256: str
    size_bytes: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended.

    `state`: COMPLETED, FAILED, DEAD, or PENDING for another try after `delay_s` (0 = at once).
    `result`: the JSON text of the answer, for COMPLETED. Durations are not kept: times are epoch seconds.
    `result_ref`: that text lies in the blob store, too, and only this goes into the row.
    """

    job: ClaimedJob
    state: JobState
    started_at: float
    ended_at: float
    batch_size: int
    result: bytes | None = None
    error_code: str | None = None
    error_message: str | None = None
    delay_s: float = 0.0
    result_ref: ResultRef | None = None


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished attempt made of its job. `completed_at`: None unless the state is final."""

    state: JobState
    completed_at: float | None


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its owner may see it. Times are epoch seconds; `result` is JSON text, or lies where `result_ref` says.

    `attempts`: of its newest `generation`; each retry or requeue of a finished job begins one.
    `asked_service_id`: where it was sent to, when `service_id` took it as the fallback of that.
    """

    id: str
    service_id: str
    state: JobState
    priority: int
    attempts: int
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    deadline: float | None = None
    batch_size: int | None = None
    model_version: str | None = None
    worker: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    metadata_json: str | None = None
    result: bytes | None = None
    generation: int = 1
    asked_service_id: str | None = None
    result_ref: ResultRef | None = None

    @property
    def is_shared(self) -> bool:
        """Whether it completed without an attempt of its own: by the answer to an equal input."""
        return self.state is JobState.COMPLETED and self.attempts == 0


class End(msgspec.Struct, frozen=True, kw_only=True):
    """A final view as the news of it carry it, and whose job it is."""

    tenant_id: str
    view: JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that ended. `outcome`: the state it ended the job in, `retried`, or `lost` with its instance."""

    generation: int
    attempt: int
    worker: str | None
    claimed_at: float | None
    started_at: float | None
    ended_at: float
    outcome: str
    batch_size: int | None
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """A job, without its result, and its attempts that ended, of all generations, in order.

    `claimed_at`: of the attempt under way, and of the last one of a job that is over.
    """

    job: JobView
    claimed_at: float | None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a job stands, in a few bytes."""

    generation: int
    attempt: int
    state: JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """A finished job that waits again, under a new generation."""

    generation: int
    service_id: str
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs to list; None means any. Newest first; `before_id` is the cursor: the last of the page before.

    `error_code`: of what ended with it.
    """

    service_id: str | None = None
    state: JobState | None = None
    priority: int | None = None
    created_from: float | None = None
    created_to: float | None = None
    model_version: str | None = None
    worker: str | None = None
    error_code: str | None = None
    is_oldest_first: bool = False
    before_id: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Jobs of one service to act upon; None means any. `state`: PENDING or RUNNING."""

    service_id: str
    state: JobState | None = None
    priority: int | None = None
    created_from: float | None = None
    created_to: float | None = None
    job_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`instances`: engines that are ready. `curve`: (rows, seconds) of measured calls, up to the largest batch."""

    instances: int
    curve: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Of a waiting job: how many wait before it, and in how many seconds it may be done; None where not known."""

    position: int | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Waiting jobs of one service and priority. `oldest_age_s` counts from submission."""

    service_id: str
    priority: int
    waiting: int
    oldest_age_s: float
