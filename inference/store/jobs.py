"""The job store on SQL; each verb's statement lies in a file of its own."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import sqlalchemy as sa

from inference.access.model import Scope
from inference.clock import epoch_s, monotonic_s
from inference.errors import PenstockError, StoreUnavailable, WrongState
from inference.jobs.block import Page
from inference.jobs.cache_model import Keep
from inference.jobs.model import (
    FINAL,
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
    Renewed,
    Selection,
    Submission,
)
from inference.jobs.ports import Move, Place
from inference.store import (
    auditing,
    jobs_again,
    jobs_cancel,
    jobs_claim,
    jobs_count,
    jobs_finish,
    jobs_insert,
    jobs_list,
    jobs_recover,
    usage,
)
from inference.store.database import Database
from inference.store.job_views import RESULT, VIEW, unknown, view
from inference.store.scoped import jobs_in
from inference.waiting import hand_on

CLOCK_CHECK_S = 30.0
FINAL_COUNT_S = 30.0
CLOCK_AGAIN_S = 1.0


class SqlJobs:
    """`JobStore` on SQLite or PostgreSQL. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._offset_s = 0.0
        self._offset_read_at = -CLOCK_CHECK_S
        self._has_looked = False
        self._finals: dict[tuple[str, JobState], int] = {}
        self._finals_at = -FINAL_COUNT_S

    def now_s(self) -> float:
        """By the database's clock, looked at every 30 s. Raises WouldWait on a loop that has never looked."""
        if not self._db.is_sqlite and monotonic_s() - self._offset_read_at > CLOCK_CHECK_S:
            self._look_at_clock()
        return time.time() + self._offset_s

    def _look_at_clock(self) -> None:
        if self._has_looked:
            # What was known before is good enough for a loop, which must not wait in the middle of a request.
            self._offset_read_at = monotonic_s() - CLOCK_CHECK_S + CLOCK_AGAIN_S
            if hand_on(self._read_offset):
                return
        self._read_offset()
        self._has_looked = True

    def _read_offset(self) -> None:
        try:
            with self._db.read() as connection:
                before = epoch_s()
                theirs = self._db.now_s(connection)
                self._offset_s = theirs - (before + epoch_s()) / 2
            self._offset_read_at = monotonic_s()
        except StoreUnavailable:
            self._offset_read_at = monotonic_s() - CLOCK_CHECK_S + CLOCK_AGAIN_S

    def insert(
        self, submissions: Sequence[Submission], *, soon: Callable[[], None] | None = None
    ) -> Sequence[Accepted | PenstockError]:
        return jobs_insert.insert(self._db, submissions, soon=soon)

    def claim(self, by: Claimant, *, max_rows: int, min_rows: int = 1, is_ahead: bool = False) -> Claim:
        return jobs_claim.claim_alone(self._db, by, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead)

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
        return jobs_finish.finish(
            self._db, by, outcomes, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead, keep=keep
        )

    def add_usage(self, by: Claimant, used: Sequence[tuple[int, str, str, int, int, float]]) -> None:
        usage.add(self._db, by, used)

    def release(self, by: Claimant, jobs: Sequence[ClaimedJob]) -> Mapping[str, JobState]:
        return jobs_claim.release(self._db, by, jobs)

    def disown(self, by: Claimant) -> Mapping[str, JobState]:
        return jobs_claim.disown(self._db, by)

    def cancel(self, scope: Scope, job_id: str) -> JobState:
        inside, bound = jobs_in(scope, asked_too=True)
        # Locked, since a job may come back to the queue, or leave it, between the two statements.
        found = sa.text(
            "SELECT state, state = 'running' AND cancel_requested_at IS NOT NULL AS is_asked, service_id FROM jobs "
            f"WHERE {inside} AND id = :id{'' if self._db.is_sqlite else ' FOR UPDATE'}"
        )
        with self._db.write() as connection:
            row = connection.execute(found, bound | {"id": job_id}).first()
            if row is None:
                raise unknown(job_id)
            state = JobState(row.state)
            if state in FINAL and state is not JobState.CANCELLED:
                raise WrongState(
                    f"Task {job_id} is {state} already; only a waiting or running task can be cancelled.", state=state
                )
            if state is JobState.CANCELLED or row.is_asked:
                return state
            to = JobState.CANCELLED if state is JobState.PENDING else state
            what = "cancel_requested_at" if to is JobState.RUNNING else "state = 'cancelled', completed_at"
            change = f"UPDATE jobs SET {what} = {self._db.clock} WHERE {inside} AND id = :id"
            connection.execute(sa.text(change), bound | {"id": job_id})
            auditing.note(
                self._db,
                connection,
                action="job.cancel",
                kind="job",
                object_id=job_id,
                tenant_id=scope.tenant_id,
                before={"state": state},
                after={"state": to, "service_id": row.service_id, "cancel_requested": True},
            )
            return to

    def again(self, scope: Scope, job_id: str, *, action: str, allowed: Collection[JobState], place: Place) -> Renewed:
        return jobs_again.again(self._db, scope, job_id, action=action, allowed=allowed, place=place)

    def prioritise(self, scope: Scope, job_id: str, *, priority: int, move: Move) -> None:
        jobs_again.prioritise(self._db, scope, job_id, priority=priority, move=move)

    def history(self, scope: Scope, job_id: str) -> JobHistory:
        if (found := self.histories(scope, [job_id]).get(job_id)) is None:
            raise unknown(job_id)
        return found

    def histories(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, JobHistory]:
        return jobs_again.histories(self._db, scope, job_ids)

    def unwanted(self, instances: Mapping[str, int]) -> "dict[str, int]":
        columns = {"id": "text", "generation": "int"}
        with self._db.read() as connection:
            rows = connection.execute(
                sa.text(
                    f"SELECT j.instance_id, count(*) AS n FROM {self._db.rows_from('r', columns)} "
                    "JOIN jobs j ON j.instance_id = r.id AND j.instance_generation = r.generation "
                    "WHERE j.state = 'running' AND j.started_at IS NOT NULL AND j.cancel_requested_at IS NOT NULL "
                    "GROUP BY j.instance_id"
                ),
                self._db.rows("r", columns, list(instances.items())),
            )
            return {row.instance_id: row.n for row in rows}

    def cancel_many(self, scope: Scope, which: Selection) -> Iterator[Mapping[str, JobState]]:
        return jobs_cancel.cancel_many(self._db, scope, which)

    def note_cancelled(self, scope: Scope, which: Selection, *, cancelled: int, requested: int) -> None:
        jobs_cancel.note_cancelled(self._db, scope, which, cancelled=cancelled, requested=requested)

    def ahead(self, scope: Scope, job_id: str, *, limit: int) -> int | None:
        inside, bound = jobs_in(scope, "j", asked_too=True)
        before = (
            "SELECT 1 FROM jobs o WHERE o.service_id = j.service_id AND o.state = 'pending' AND o.not_before IS NULL "
            "AND (o.order_key, o.id) < (j.order_key, j.id) LIMIT :limit"
        )
        with self._db.read() as connection:
            return connection.execute(
                sa.text(
                    f"SELECT (SELECT count(*) FROM ({before}) AS b) FROM jobs j "
                    f"WHERE j.id = :id AND {inside} AND j.state = 'pending' AND j.not_before IS NULL"
                ),
                bound | {"id": job_id, "limit": limit},
            ).scalar()

    def marks(self, job_ids: Sequence[str]) -> Mapping[str, Mark]:
        return jobs_again.marks(self._db, job_ids)

    def get(self, scope: Scope, job_id: str) -> JobView:
        if (found := self.get_many(scope, [job_id]).get(job_id)) is None:
            raise unknown(job_id)
        return found

    def get_many(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        inside, bound = jobs_in(scope, "j", asked_too=True)
        with self._db.read() as connection:
            rows = connection.execute(
                sa.text(
                    f"SELECT {VIEW}, {RESULT} FROM jobs j LEFT JOIN results x ON x.job_id = j.id "
                    f"WHERE {self._db.among('j.id', 'ids')} AND {inside}"
                ),
                bound | {"ids": self._db.ids(job_ids)},
            ).all()
        return {row.id: view(row._asdict()) for row in rows}

    def list(self, scope: Scope, which: JobFilter) -> Page:
        return jobs_list.page(self._db, scope, which)

    def views(self, job_ids: Sequence[str]) -> Sequence[tuple[str, JobView]]:
        """Tenant and view, with result, of each of `job_ids` that exists."""
        with self._db.read() as connection:
            rows = connection.execute(
                sa.text(
                    f"SELECT j.tenant_id, {VIEW}, {RESULT} FROM jobs j LEFT JOIN results x ON x.job_id = j.id "
                    f"WHERE j.id IN (SELECT r.id FROM {self._db.rows_from('r', {'id': 'text'})})"
                ),
                self._db.rows("r", ("id",), [(job_id,) for job_id in job_ids]),
            ).all()
        return [(row.tenant_id, view(row._asdict())) for row in rows]

    def waiting(self, tenant_id: str, by_key: bool = False) -> Mapping[str | None, int]:
        with self._db.read() as connection:
            rows = connection.execute(jobs_claim.count_waiting(self._db, by_key=by_key), {"t": tenant_id}).all()
        return {**{row.key_id: row.n for row in rows if row.key_id}, None: sum(row.n for row in rows)}

    def backlog(self) -> Sequence[Backlog]:
        with self._db.read() as connection:
            rows = connection.execute(
                sa.text(
                    f"SELECT service_id, priority, count(*) AS waiting, {self._db.clock} - min(submitted_at) AS oldest "
                    "FROM jobs WHERE state = 'pending' AND not_before IS NULL GROUP BY service_id, priority"
                )
            ).all()
        return [
            Backlog(service_id=r.service_id, priority=r.priority, waiting=r.waiting, oldest_age_s=max(0.0, r.oldest))
            for r in rows
        ]

    def has_waiting(self, service_id: str) -> bool:
        with self._db.read() as connection:
            return (
                connection.execute(
                    sa.text(
                        f"SELECT 1 FROM jobs{self._db.by('ix_jobs_pending')} "
                        "WHERE service_id = :s AND state = 'pending' AND not_before IS NULL LIMIT 1"
                    ),
                    {"s": service_id},
                ).first()
                is not None
            )

    def reap(self, *, limit: int = 500) -> Sequence[tuple[str, JobState]]:
        return jobs_recover.reap(self._db, limit=limit)

    def promote(self) -> Sequence[str]:
        return jobs_recover.promote(self._db)

    def expire(self) -> Sequence[str]:
        return jobs_recover.expire(self._db)

    def services_with_waiting(self) -> Sequence[tuple[str, str]]:
        with self._db.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT s.tenant_id, s.id FROM services s "
                    "WHERE s.state IN ('deploying', 'running', 'preempted') AND EXISTS "
                    f"(SELECT 1 FROM jobs j{self._db.by('ix_jobs_pending')} WHERE j.service_id = s.id "
                    "AND j.state = 'pending' AND j.not_before IS NULL)"
                )
            )
            return [(row.tenant_id, row.id) for row in rows]

    def delete_finished(self, *, older_than_s: float, limit: int) -> int:
        return jobs_recover.delete_finished(self._db, older_than_s=older_than_s, limit=limit)

    def forget_keys(self, *, older_than_s: float) -> int:
        return jobs_recover.forget_keys(self._db, older_than_s=older_than_s)

    def counts(self) -> "dict[tuple[str, JobState], int]":
        """Final states are counted anew every `FINAL_COUNT_S`: there may be millions of them."""
        if monotonic_s() - self._finals_at > FINAL_COUNT_S:
            self._finals, self._finals_at = jobs_count.finals(self._db), monotonic_s()
        return self._finals | jobs_count.unfinished(self._db)
