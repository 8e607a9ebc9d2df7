"""What the jobs room needs from outside."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from inference.access.model import Principal, Scope
from inference.errors import PenstockError
from inference.jobs.block import Page, Weighed
from inference.jobs.cache_model import Keep, ResultCache
from inference.jobs.express_model import Taken, Told
from inference.jobs.large import LargeResults
from inference.jobs.model import (
    Accepted,
    Backlog,
    Claim,
    Claimant,
    ClaimedJob,
    JobFilter,
    JobHistory,
    JobState,
    JobView,
    Mark,
    Moved,
    Outcome,
    Pace,
    Renewed,
    Selection,
    Submission,
)
from inference.registry.model import ModelVersion
from inference.serving.model import Service
from inference.settings import JobsSettings
from inference.telemetry.ports import Figures
from inference.tracing import Tracer

Place: TypeAlias = Callable[[float, int, float | None], float]
"""The order key of a job submitted at that instant, of that priority and deadline."""

Move: TypeAlias = Callable[[float, int, float | None, float], float]
"""The order key of a job that had this key, priority, deadline and instant of submission."""


class JobStore(Protocol):
    """The truth about jobs. Every change is one conditional statement; the answer says what really changed.

    Raises StoreUnavailable when the database is away or its turn does not come in time.
    """

    def insert(
        self, submissions: Sequence[Submission], *, soon: Callable[[], None] | None = None
    ) -> Sequence[Accepted | PenstockError]:
        """Commits all that can be committed, in one transaction, and answers one for one.

        A submission stands or falls whole. A refused one (its data, its idempotency key) harms no other. `soon` is
        called once it is sure that a claim that begins from then on waits for the end of this transaction, and sees
        what it committed; more than once or never, as the database has it.
        """
        ...

    def now_s(self) -> float:
        """Epoch seconds by the database's clock, without asking it each time. Never raises: the last offset holds."""
        ...

    def claim(self, by: Claimant, *, max_rows: int, min_rows: int = 1, is_ahead: bool = False) -> Claim:
        """Takes the head of the queue and what may share its engine call, at most `max_rows` rows.

        Takes nothing while fewer than `min_rows` rows would come. A head of more than `max_rows` rows comes alone.
        A claimant whose lease or generation is over gets an empty claim. `is_ahead`: the engine is still busy, so
        the jobs count as not started, and suspects of a crash are left where they are.
        """
        ...

    def finish(
        self,
        by: Claimant,
        outcomes: Sequence[Outcome],
        *,
        max_rows: int = 0,
        min_rows: int = 1,
        is_ahead: bool = False,
        keep: Keep | None = None,
    ) -> tuple[dict[str, Moved], Claim]:
        """Records how attempts ended, and claims the next batch (`max_rows` > 0) in the same transaction.

        Jobs that wait with the key of an input that has its answer now are completed with it, and `keep` says how long
        it is kept for those that come later.

        The first value maps the ids whose row really changed to what they became: an attempt that is no longer the
        job's last, or no longer running, changes nothing; a job whose cancellation was asked for ends cancelled.
        """
        ...

    def release(self, by: Claimant, jobs: Sequence[ClaimedJob]) -> Mapping[str, JobState]:
        """Gives back claimed jobs that were never started; their budget is as before.

        What the row of each became, where it really changed: CANCELLED where that was asked for, else PENDING.
        """
        ...

    def disown(self, by: Claimant) -> Mapping[str, JobState]:
        """Gives back, uncharged, all that the claimant has: for one that knows of nothing, after a lost answer.

        Answers as `release` does.
        """
        ...

    def cancel(self, scope: Scope, job_id: str) -> JobState:
        """Cancels a waiting job at once, asks for it when running, and says which state it found or made.

        Raises JobNotFound.
        """
        ...

    def again(self, scope: Scope, job_id: str, *, action: str, allowed: Collection[JobState], place: Place) -> Renewed:
        """Begins a new generation of a job in one of the `allowed` states: all of its attempts are ahead of it again.

        Its result goes in the same transaction, and so does a deadline that has passed; payload and earlier attempts
        stay. `action`: for the audit record. Raises JobNotFound, WrongState.
        """
        ...

    def prioritise(self, scope: Scope, job_id: str, *, priority: int, move: Move) -> None:
        """Gives a waiting job another priority and its place in the queue. Raises JobNotFound, WrongState."""
        ...

    def history(self, scope: Scope, job_id: str) -> JobHistory:
        """The job and all of its attempts, of one instant. Raises JobNotFound."""
        ...

    def histories(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, JobHistory]:
        """`history` of several at the price of one; by id, those that are there."""
        ...

    def unwanted(self, instances: Mapping[str, int]) -> Mapping[str, int]:
        """Of each of these instances (id -> generation): how many of the jobs at its engine are to be cancelled.

        Instances without any are left out.
        """
        ...

    def cancel_many(self, scope: Scope, which: Selection) -> Iterator[Mapping[str, JobState]]:
        """Cancels as `cancel` does, chunk by chunk; what became of the jobs of each chunk once it is committed.

        Only jobs that were submitted before the call, and that nobody asked to cancel before.
        """
        ...

    def note_cancelled(self, scope: Scope, which: Selection, *, cancelled: int, requested: int) -> None:
        """Writes the audit record of a `cancel_many`."""
        ...

    def marks(self, job_ids: Sequence[str]) -> Mapping[str, Mark]:
        """Where each of `job_ids` that exists stands: for those who watch many, and read what changed."""
        ...

    def get(self, scope: Scope, job_id: str) -> JobView:
        """Raises JobNotFound."""
        ...

    def get_many(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        """`get` of several at the price of one; by id, those that are there."""
        ...

    def ahead(self, scope: Scope, job_id: str, *, limit: int) -> int | None:
        """Waiting jobs of its service before it, at most `limit`; None for a job that is not in the queue."""
        ...

    def views(self, job_ids: Sequence[str]) -> Sequence[tuple[str, JobView]]:
        """Tenant and view, with result, of each of `job_ids` that exists. For those who announce results."""
        ...

    def list(self, scope: Scope, which: JobFilter) -> Page:
        """Newest first, without results. A page looks at so many jobs: it may be short, or empty, and not the last."""
        ...

    def waiting(self, tenant_id: str, by_key: bool = False) -> Mapping[str | None, int]:
        """Jobs of a tenant that wait to be claimed: all under None and, with `by_key`, those of each key."""
        ...

    def backlog(self) -> Sequence[Backlog]:
        """By service and priority."""
        ...

    def has_waiting(self, service_id: str) -> bool:
        """Whether a claim by this service would find something."""
        ...

    def reap(self, *, limit: int = 500) -> Sequence[tuple[str, JobState]]:
        """Returns or buries the jobs whose instance is gone or silent; id and new state of each."""
        ...

    def promote(self) -> Sequence[str]:
        """Puts delayed jobs whose time has come back into the queue; the services concerned."""
        ...

    def expire(self) -> Sequence[str]:
        """Ends waiting jobs whose deadline has passed; their ids."""
        ...

    def services_with_waiting(self) -> Sequence[tuple[str, str]]:
        """Tenant and id of each service that has something to claim."""
        ...

    def delete_finished(self, *, older_than_s: float, limit: int) -> int:
        """Removes finished jobs and all that hangs on them, in a short transaction; how many."""
        ...

    def forget_keys(self, *, older_than_s: float) -> int:
        """Removes idempotency keys of that age; how many."""
        ...

    def add_usage(self, by: Claimant, used: Sequence[tuple[int, str, str, int, int, float]]) -> None:
        """Adds what no job of the database used: day since 1970, tenant, key, predictions, rows, engine seconds."""
        ...

    def counts(self) -> "dict[tuple[str, JobState], int]":
        """Jobs by service and state; those of final states may be half a minute old."""
        ...


class Bell(Protocol):
    """Tells workers that there is work. May lose, delay or repeat; nobody depends on it."""

    def ring(self, service_id: str, *, slots: int) -> None:
        """Returns at once, never raises. `slots`: drains that the service may have, one per instance; 0: it rests."""
        ...

    def ring_early(self, service_id: str, *, slots: int) -> bool:
        """Rings while the jobs are being committed, if that takes no time; False: not now, `ring` when they are.

        For where claims wait for that commit. True: call `heed` when there is time.
        """
        ...

    def heed(self) -> None:
        """Sees to what was answered to `ring_early`. Returns at once, never raises."""
        ...

    def deliver(self, service_id: str, *, slot: int, token: str, slots: int) -> None:
        """As `ring`, for a slot that was taken already, under `token`."""
        ...


class ExpressLane(Protocol):
    """A worker's end of the express lane. Losing it loses predictions, whose askers are refused; never a job.

    Raises HotUnavailable when Redis is away.
    """

    def exchange(
        self, service_id: str, *, told: Mapping[str, Sequence[Told]], max_rows: int, now: float, holder: str
    ) -> Taken:
        """Answers (asker -> answers), and takes the head of the queue: at most `max_rows` rows of one bucket.

        What is late goes. A head of more rows comes alone; 0 takes nothing. What was taken is noted under `holder`,
        instead of what was noted there before.
        """
        ...

    def tell(self, told: Mapping[str, Sequence[Told]]) -> None:
        """Answers alone, while the next batch is in hand already."""
        ...

    def waiting(self, service_id: str) -> int: ...

    def waiting_in(self, service_ids: Sequence[str]) -> Mapping[str, int]:
        """`waiting` of each, in one round trip."""
        ...

    def lost(self, holder: str) -> int:
        """Tells the askers of all that was noted under `holder` that it is lost; how many that were."""
        ...


class HotResults(Protocol):
    """Fast copies of final results, and the news that they exist. Losing them costs time, never an answer."""

    def put(self, tenant_id: str, service_id: str, views: Sequence[JobView]) -> None:
        """Keeps and announces finished jobs; never raises."""
        ...

    def get(self, tenant_id: str, job_id: str) -> JobView | None:
        """A final view, or None when there is no copy or Redis is away."""
        ...

    def get_many(self, tenant_id: str, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        """`get` of several in one round trip; by id, those that there are copies of."""
        ...

    def forget(self, job_id: str, *, age_s: float) -> None:
        """From now on no copy made before is read, nor is one that is put for a while: not even a late one.

        `age_s`: seconds since the job ended. Raises HotUnavailable when a copy may be there and cannot be removed.
        """
        ...


class Directory(Protocol):
    """Services and their models as the hot path sees them: up to a second old."""

    def find(self, scope: Scope, service_id: str) -> tuple[Service, ModelVersion]:
        """Raises ServiceNotFound."""
        ...


class Fallbacks(Protocol):
    """Who takes the work of services that have no room, as `Directory` sees them: up to a second old."""

    def find(self, service: Service) -> tuple[Service, ModelVersion] | None:
        """The service that takes it instead, running, and its model; None while it has room, or names nobody."""
        ...

    def hand_over(self, bell: Bell) -> int:
        """Gives what has waited for a while at services without room to those, and rings for it; how many jobs.

        Only where both models take the same inputs: the jobs were checked, and packed, for the one asked for.
        """
        ...


class ByModel(Protocol):
    """Which service answers for a model, as `Directory` sees them: up to a second old."""

    def find(self, scope: Scope, name: str, version: str) -> tuple[Service, ModelVersion]:
        """A running service of that version; of several, any. `latest`: of the highest that has one.

        Raises ModelNotFound, and WrongState when no service of the model runs.
        """
        ...


class Admission(Protocol):
    """The quotas that new jobs count against: those of the tenant and those of the key."""

    def admit(self, by: Principal, *, jobs: int, payload_bytes: int) -> None:
        """Raises BacklogFull when more jobs would wait than may, QuotaExceeded for bytes and GPU-seconds."""
        ...

    def used(self, by: Principal) -> Mapping[str, Mapping[str, float]]:
        """Of `key` and of `tenant`: what is used of each quota that holds, by its name. Raises StoreUnavailable."""
        ...


class Spending(Protocol):
    """Budgets, as the hot path sees them: some seconds old."""

    def check(self, tenant_id: str, service_id: str, priority: int) -> None:
        """Raises BudgetExhausted when new work of that priority is no longer paid for."""
        ...


class Fair(Protocol):
    """Shares a service among the keys that load it."""

    def places(self, by: Principal, service: Service, specs: Sequence[Weighed], *, now: float) -> Sequence[float]:
        """The instant by which each job takes its place in the queue, from `now` on; `now` for who has no key.

        Never raises. Of one key and priority, a later job never gets an earlier place.
        """
        ...


class Pacing(Protocol):
    """Knows how fast services work."""

    def find(self, service: Service) -> Pace | None:
        """None while that is not known."""
        ...


class Commit(Protocol):
    """Group commit: returns when this submission, with whatever gathered beside it, is committed and rung for."""

    def __call__(self, submission: Submission) -> Accepted:
        """Raises what refused this submission: DataRefused, IdempotencyMismatch, WrongState, StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPorts:
    store: JobStore
    commit: Commit
    admission: Admission
    fair: Fair
    bell: Bell
    hot: HotResults
    directory: Directory
    settings: JobsSettings
    pace: Pacing | None = None
    express: ExpressLane | None = None
    by_model: ByModel | None = None
    figures: Figures | None = None
    traces: Tracer | None = None
    spending: Spending | None = None
    fallbacks: Fallbacks | None = None
    cache: ResultCache | None = None
    large: LargeResults | None = None
