"""What time does to jobs: lost leases, delays that are over, deadlines that passed, retention."""

from collections import Counter

import sqlalchemy as sa

from inference.errors import InstanceLost
from inference.jobs.model import JobState
from inference.jobs.suspect import Verdict, judge
from inference.store.database import Database
from inference.store.jobs_claim import expire_statement

LOST_CODE = InstanceLost.code
LOST_MESSAGE = "The engine process died or fell silent while it had this job."

VERDICT_COLUMNS = {
    "id": "text",
    "job_generation": "int",
    "attempt": "int",
    "state": "text",
    "batch_cap": "int",
    "is_attempt": "int",
    "is_shared": "int",
    "is_dead": "int",
}


def reap(db: Database, *, limit: int) -> list[tuple[str, JobState]]:
    """See `JobStore.reap`. One short transaction; nothing is written when nothing is lost."""
    if not _find_lost(db, limit=1):
        return []
    return db.again(lambda: _reap(db, limit=limit))


def _lost(db: Database, *, lock: bool) -> sa.TextClause:
    suffix = "FOR UPDATE OF j SKIP LOCKED" if lock and not db.is_sqlite else ""
    return sa.text(
        "SELECT j.id, j.attempt, j.crashes, j.max_attempts, j.started_at, j.claimed_at, j.batch_cap, j.batch_size, "
        "j.instance_id, j.worker, j.generation, j.cancel_requested_at FROM jobs j "
        "WHERE j.state = 'running' AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = j.instance_id "
        f"AND i.generation = j.instance_generation AND i.lease_until > {db.clock}) LIMIT :n {suffix}"
    )


def _find_lost(db: Database, *, limit: int) -> list[sa.Row[tuple[object, ...]]]:
    with db.read() as connection:
        return list(connection.execute(_lost(db, lock=False), {"n": limit}).all())


def _reap(db: Database, *, limit: int) -> list[tuple[str, JobState]]:
    with db.write() as connection:
        rows = connection.execute(_lost(db, lock=True), {"n": limit}).all()
        mates = Counter((row.instance_id, row.claimed_at) for row in rows)
        ended: list[tuple[str, JobState]] = []
        changes: list[tuple[object, ...]] = []
        attempts: list[tuple[object, ...]] = []
        for row in rows:
            size = max(mates[row.instance_id, row.claimed_at], row.batch_size or 1)
            verdict = _verdict(row, size)
            changes.append(
                (
                    row.id,
                    row.generation,
                    row.attempt,
                    verdict.state.value,
                    verdict.batch_cap,
                    int(verdict.is_attempt),
                    int(verdict.is_shared),
                    int(verdict.state is not JobState.PENDING),
                )
            )
            if verdict.is_attempt:
                who = (row.id, row.generation, row.attempt, row.instance_id, row.worker)
                attempts.append((*who, row.claimed_at, row.started_at, size))
            ended.append((row.id, verdict.state))
        if changes:
            _apply(db, connection, changes)
        for attempt in attempts:
            _write_attempt(db, connection, attempt)
    return ended


def _verdict(row: sa.Row[tuple[object, ...]], mates: int) -> Verdict:
    if row.cancel_requested_at is not None:
        return Verdict(state=JobState.CANCELLED, batch_cap=0, is_attempt=row.started_at is not None)
    return judge(
        attempt=row.attempt,
        shared=row.crashes,
        max_attempts=row.max_attempts,
        is_started=row.started_at is not None,
        mates=mates,
        batch_cap=row.batch_cap,
    )


def _apply(db: Database, connection: sa.Connection, changes: list[tuple[object, ...]]) -> None:
    connection.execute(
        sa.text(
            "UPDATE jobs SET state = r.state, batch_cap = r.batch_cap, crashes = crashes + r.is_shared, "
            "attempt = jobs.attempt - 1 + r.is_attempt, instance_id = NULL, instance_generation = NULL, "
            f"completed_at = CASE WHEN r.is_dead = 1 THEN {db.clock} END, "
            f"error_code = '{LOST_CODE}', error_message = '{LOST_MESSAGE}' "
            f"FROM {db.rows_from('r', VERDICT_COLUMNS)} "
            "WHERE jobs.id = r.id AND jobs.generation = r.job_generation AND jobs.attempt = r.attempt "
            "AND jobs.state = 'running'"
        ),
        db.rows("r", VERDICT_COLUMNS, changes),
    )


def _write_attempt(db: Database, connection: sa.Connection, values: tuple[object, ...]) -> None:
    names = ("job_id", "generation", "attempt", "instance_id", "worker", "claimed_at", "started_at", "batch_size")
    marks = ", ".join(f":{name}" for name in names)
    connection.execute(
        sa.text(
            f"INSERT INTO attempts ({', '.join(names)}, ended_at, outcome, error_code, error_message) "
            f"VALUES ({marks}, {db.clock}, 'lost', '{LOST_CODE}', '{LOST_MESSAGE}')"
        ),
        dict(zip(names, values, strict=True)),
    )


def promote(db: Database) -> list[str]:
    """See `JobStore.promote`."""
    due = f"state = 'pending' AND not_before IS NOT NULL AND not_before <= {db.clock}"
    with db.read() as connection:
        if connection.execute(sa.text(f"SELECT 1 FROM jobs WHERE {due} LIMIT 1")).first() is None:
            return []
    with db.write() as connection:
        rows = connection.execute(
            sa.text(
                "UPDATE jobs SET not_before = NULL WHERE id IN "
                f"(SELECT id FROM jobs WHERE {due} ORDER BY not_before LIMIT 1000) RETURNING service_id"
            )
        )
        return sorted({row.service_id for row in rows})


def expire(db: Database) -> list[str]:
    """See `JobStore.expire`."""
    late = f"state = 'pending' AND deadline IS NOT NULL AND deadline <= {db.clock}"
    with db.read() as connection:
        if connection.execute(sa.text(f"SELECT 1 FROM jobs WHERE {late} LIMIT 1")).first() is None:
            return []
    with db.write() as connection:
        rows = connection.execute(expire_statement(db, f"SELECT id FROM jobs WHERE {late} LIMIT 1000"))
        return [row.id for row in rows]


def delete_finished(db: Database, *, older_than_s: float, limit: int) -> int:
    """See `JobStore.delete_finished`. Locked, since a retry may bring a finished job back to the queue meanwhile."""
    lock = "" if db.is_sqlite else " FOR UPDATE SKIP LOCKED"
    with db.write() as connection:
        ids = connection.execute(
            sa.text(
                f"SELECT id FROM jobs WHERE completed_at IS NOT NULL AND completed_at < {db.clock} - :age "
                f"ORDER BY completed_at LIMIT :n{lock}"
            ),
            {"age": older_than_s, "n": limit},
        ).scalars()
        listed = db.rows("r", ("id",), [(job_id,) for job_id in ids])
        chosen = f"(SELECT r.id FROM {db.rows_from('r', {'id': 'text'})})"
        for table, column in (("payloads", "job_id"), ("results", "job_id"), ("attempts", "job_id")):
            connection.execute(sa.text(f"DELETE FROM {table} WHERE {column} IN {chosen}"), listed)
        return connection.execute(sa.text(f"DELETE FROM jobs WHERE id IN {chosen}"), listed).rowcount


def forget_keys(db: Database, *, older_than_s: float) -> int:
    """See `JobStore.forget_keys`."""
    with db.write() as connection:
        return connection.execute(
            sa.text(f"DELETE FROM submissions WHERE created_at < {db.clock} - :age"), {"age": older_than_s}
        ).rowcount
