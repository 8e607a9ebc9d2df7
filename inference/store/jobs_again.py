"""Again: a finished job begins a new generation, a waiting one is moved in the queue; and what attempts there were."""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.jobs.again import wrong_state
from inference.jobs.model import Attempt, JobHistory, JobState, Mark, Renewed
from inference.jobs.ports import Move, Place
from inference.store import auditing
from inference.store.database import Database
from inference.store.job_views import VIEW, unknown, view
from inference.store.scoped import jobs_in

ATTEMPT = (
    "a.generation AS a_generation, a.attempt AS a_attempt, a.worker AS a_worker, a.claimed_at AS a_claimed_at, "
    "a.started_at AS a_started_at, a.ended_at AS a_ended_at, a.outcome AS a_outcome, a.batch_size AS a_batch_size, "
    "a.error_code AS a_error_code, a.error_message AS a_error_message"
)
FRESH = (
    "state = 'pending', generation = generation + 1, attempt = 0, crashes = 0, batch_cap = 0, not_before = NULL, "
    "claimed_at = NULL, started_at = NULL, completed_at = NULL, cancel_requested_at = NULL, instance_id = NULL, "
    "instance_generation = NULL, batch_size = NULL, model_version = NULL, worker = NULL, error_code = NULL, "
    "error_message = NULL, order_key = :order_key, deadline = :deadline, input_key = NULL"
)


def again(
    db: Database, scope: Scope, job_id: str, *, action: str, allowed: Collection[JobState], place: Place
) -> Renewed:
    """See `JobStore.again`."""

    def work() -> Renewed:
        with db.write() as connection:
            row = _locked(db, connection, scope, job_id)
            state = JobState(row.state)
            if state not in allowed:
                raise wrong_state(job_id, state, allowed, action=action)
            deadline = None if row.deadline is None or row.deadline <= row.now else row.deadline
            bound = {"order_key": place(row.now, row.priority, deadline), "deadline": deadline}
            mine = {"tenant": scope.tenant_id, "id": job_id}
            connection.execute(sa.text(f"UPDATE jobs SET {FRESH} WHERE tenant_id = :tenant AND id = :id"), bound | mine)
            connection.execute(sa.text("DELETE FROM results WHERE job_id = :id"), {"id": job_id})
            _note(
                db,
                connection,
                row,
                action=f"job.{action}",
                before={"state": state, "generation": row.generation},
                after={"state": JobState.PENDING, "generation": row.generation + 1},
            )
            return Renewed(generation=row.generation + 1, service_id=row.service_id, priority=row.priority)

    return db.again(work)


def prioritise(db: Database, scope: Scope, job_id: str, *, priority: int, move: Move) -> None:
    """See `JobStore.prioritise`."""

    def work() -> None:
        with db.write() as connection:
            row = _locked(db, connection, scope, job_id)
            state = JobState(row.state)
            if state is not JobState.PENDING:
                raise wrong_state(job_id, state, [JobState.PENDING], action="prioritise")
            key = move(row.order_key, row.priority, row.deadline, row.submitted_at)
            connection.execute(
                sa.text(
                    "UPDATE jobs SET priority = :priority, order_key = :order_key "
                    "WHERE tenant_id = :tenant AND id = :id"
                ),
                {"tenant": scope.tenant_id, "id": job_id, "priority": priority, "order_key": key},
            )
            _note(
                db,
                connection,
                row,
                action="job.prioritise",
                before={"priority": row.priority},
                after={"priority": priority},
            )

    db.again(work)


def _locked(db: Database, connection: sa.Connection, scope: Scope, job_id: str) -> "sa.Row[Any]":
    """The job, which nobody else moves until this transaction ends."""
    inside, bound = jobs_in(scope, asked_too=True)
    lock = "" if db.is_sqlite else " FOR UPDATE"
    row = connection.execute(
        sa.text(
            "SELECT id, tenant_id, service_id, state, priority, order_key, generation, deadline, submitted_at, "
            f"{db.clock} AS now FROM jobs WHERE {inside} AND id = :id{lock}"
        ),
        bound | {"id": job_id},
    ).first()
    if row is None:
        raise unknown(job_id)
    return row


def _note(
    db: Database,
    connection: sa.Connection,
    row: "sa.Row[Any]",
    *,
    action: str,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    of_service = {"service_id": row.service_id}
    auditing.note(
        db,
        connection,
        action=action,
        kind="job",
        object_id=row.id,
        tenant_id=row.tenant_id,
        before=before,
        after=after | (of_service if before != after else {}),
    )


def histories(db: Database, scope: Scope, job_ids: Sequence[str]) -> dict[str, JobHistory]:
    """See `JobStore.histories`. One statement, so that job and attempts are of one instant."""
    inside, bound = jobs_in(scope, "j", asked_too=True)
    with db.read() as connection:
        rows = connection.execute(
            sa.text(
                f"SELECT {VIEW}, j.claimed_at, {ATTEMPT} FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id "
                f"WHERE {db.among('j.id', 'ids')} AND {inside} ORDER BY j.id, a.generation, a.attempt"
            ),
            bound | {"ids": db.ids(job_ids)},
        ).all()
    return {job_id: _history(list(own)) for job_id, own in itertools.groupby(rows, key=lambda row: str(row.id))}


def _history(rows: Sequence[sa.Row[Any]]) -> JobHistory:
    own = {name: value for name, value in rows[0]._mapping.items() if not name.startswith("a_")}
    claimed_at = own.pop("claimed_at")
    attempts = [
        Attempt(**{name[2:]: value for name, value in row._mapping.items() if name.startswith("a_")})
        for row in rows
        if row.a_attempt is not None
    ]
    return JobHistory(job=view(own), claimed_at=claimed_at, attempts=tuple(attempts))


def marks(db: Database, job_ids: Sequence[str]) -> dict[str, Mark]:
    """See `JobStore.marks`."""
    with db.read() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT j.id, j.generation, j.attempt, j.state FROM jobs j "
                f"WHERE j.id IN (SELECT r.id FROM {db.rows_from('r', {'id': 'text'})})"
            ),
            db.rows("r", ("id",), [(job_id,) for job_id in job_ids]),
        )
        return {row.id: Mark(generation=row.generation, attempt=row.attempt, state=JobState(row.state)) for row in rows}
