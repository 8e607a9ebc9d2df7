"""Cancel many: those jobs of one service that a selection describes, in short transactions."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.jobs.model import JobState, Selection
from inference.store import auditing
from inference.store.database import Database
from inference.store.scoped import jobs_in

CHUNK = 500
ROUNDS = 5
"""A job may slip from one kind to another behind a walk: it is walked again until a whole round finds none."""
BEGINNING = -1e300

# Each the condition of a partial index, and the column by which that is walked.
KINDS = (
    (JobState.PENDING, "state = 'pending' AND not_before IS NULL", "order_key"),
    (JobState.PENDING, "state = 'pending' AND not_before IS NOT NULL", "not_before"),
    (JobState.RUNNING, "state = 'running' AND cancel_requested_at IS NULL", "claimed_at"),
)
OPEN = "(state = 'pending' OR (state = 'running' AND cancel_requested_at IS NULL))"


def cancel_many(db: Database, scope: Scope, which: Selection) -> Iterator[dict[str, JobState]]:
    """See `JobStore.cancel_many`."""
    if which.job_ids is not None:
        for start in range(0, len(which.job_ids), CHUNK):
            yield _change(db, scope, which, which.job_ids[start : start + CHUNK])
        return
    with db.read() as connection:
        until = db.now_s(connection)
    for _ in range(ROUNDS):
        has_changed = False
        for ids in _pages(db, scope, which, until=until):
            changed = _change(db, scope, which, ids)
            has_changed |= bool(changed)
            yield changed
        if not has_changed:
            return


def _pages(db: Database, scope: Scope, which: Selection, *, until: float) -> Iterator[list[str]]:
    """Ids of what may be cancelled, as it is at the moment of each page. Nothing is locked."""
    where, bound = _where(scope, which)
    for state, condition, column in KINDS:
        if which.state not in (None, state):
            continue
        page = sa.text(
            f"SELECT id, {column} AS at FROM jobs WHERE {where} AND {condition} AND submitted_at <= :until "
            f"AND ({column}, id) > (:at, :after) ORDER BY {column}, id LIMIT {CHUNK}"
        )
        at, after = BEGINNING, ""
        while True:
            with db.read() as connection:
                rows = connection.execute(page, bound | {"until": until, "at": at, "after": after}).all()
            if rows:
                yield [row.id for row in rows]
            if len(rows) < CHUNK:
                break
            at, after = rows[-1].at, rows[-1].id


def _change(db: Database, scope: Scope, which: Selection, ids: Sequence[str]) -> dict[str, JobState]:
    """One transaction. The selection is asked again, since a job may have changed after it was found."""
    where, bound = _where(scope, which)
    statement = sa.text(
        "UPDATE jobs SET state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END, "
        f"completed_at = CASE state WHEN 'pending' THEN {db.clock} END, "
        f"cancel_requested_at = CASE state WHEN 'running' THEN {db.clock} END "
        f"WHERE {where} AND {OPEN} AND id IN (SELECT r.id FROM {db.rows_from('r', {'id': 'text'})}) "
        "RETURNING id, state"
    )
    listed = db.rows("r", ("id",), [(job_id,) for job_id in ids])

    def work() -> dict[str, JobState]:
        with db.write() as connection:
            return {row.id: JobState(row.state) for row in connection.execute(statement, bound | listed)}

    return db.again(work)


def _where(scope: Scope, which: Selection) -> tuple[str, dict[str, Any]]:
    inside, bound = jobs_in(scope)
    parts = {
        "service_id = :service": ("service", which.service_id),
        "state = :state": ("state", which.state.value if which.state else None),
        "priority = :priority": ("priority", which.priority),
        "submitted_at >= :from": ("from", which.created_from),
        "submitted_at < :to": ("to", which.created_to),
    }
    asked = {text: part for text, part in parts.items() if part[1] is not None}
    return " AND ".join([inside, *asked]), bound | dict(asked.values())


def note_cancelled(db: Database, scope: Scope, which: Selection, *, cancelled: int, requested: int) -> None:
    """See `JobStore.note_cancelled`."""
    described = {
        "status": which.state,
        "priority": which.priority,
        "created_from": which.created_from,
        "created_to": which.created_to,
        "task_ids": which.job_ids,
    }
    with db.write() as connection:
        auditing.note(
            db,
            connection,
            action="job.cancel_many",
            kind="service",
            object_id=which.service_id,
            tenant_id=scope.tenant_id,
            before={},
            after={
                "filter": {name: value for name, value in described.items() if value is not None},
                "cancelled": cancelled,
                "requested": requested,
            },
        )
