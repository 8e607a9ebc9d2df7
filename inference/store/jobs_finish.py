"""Finish: states, results, attempts and usage of a batch in one fenced transaction."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import sqlalchemy as sa

from inference.errors import DataRefused
from inference.jobs.model import FINAL, Claim, Claimant, JobState, Moved, Outcome
from inference.store import usage
from inference.store.database import Database
from inference.store.jobs_claim import claim

COLUMNS = {
    "id": "text",
    "job_generation": "int",
    "attempt": "int",
    "state": "text",
    "is_final": "int",
    "started_at": "float8",
    "batch_size": "int",
    "error_code": "text",
    "error_message": "text",
    "delay_s": "float8",
}
ATTEMPT_COLUMNS = {
    "job_id": "text",
    "generation": "int",
    "attempt": "int",
    "claimed_at": "float8",
    "started_at": "float8",
    "outcome": "text",
    "batch_size": "int",
    "error_code": "text",
    "error_message": "text",
}
ATTEMPT = f"{', '.join(ATTEMPT_COLUMNS)}, instance_id, worker, ended_at"
RESULT_COLUMNS = {"job_id": "text", "body": "bytea"}
ADD_USAGE = usage.statement(f"VALUES ({', '.join('?' * len(usage.COLUMNS))})")


def finish(
    db: Database, by: Claimant, outcomes: Sequence[Outcome], *, max_rows: int, min_rows: int, is_ahead: bool
) -> tuple[dict[str, Moved], Claim]:
    """See `JobStore.finish`. A result that the database refuses fails its own job; its mates keep theirs."""
    try:
        return db.again(lambda: _finish(db, by, outcomes, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead))
    except DataRefused as refusal:
        if len(outcomes) == 1:
            failed = msgspec.structs.replace(
                outcomes[0],
                state=JobState.FAILED,
                result=None,
                error_code="output_invalid",
                error_message=f"The answer cannot be stored: {refusal.message}".replace("\0", ""),
            )
            return _finish(db, by, [failed], max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead)
        middle = len(outcomes) // 2
        first, _ = finish(db, by, outcomes[:middle], max_rows=0, min_rows=1, is_ahead=is_ahead)
        second, claimed = finish(db, by, outcomes[middle:], max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead)
        return first | second, claimed


def _finish(
    db: Database, by: Claimant, outcomes: Sequence[Outcome], *, max_rows: int, min_rows: int, is_ahead: bool
) -> tuple[dict[str, Moved], Claim]:
    with db.write() as connection:
        moved = _move(db, connection, by, outcomes) if outcomes else {}
        changed = [outcome for outcome in outcomes if outcome.job.id in moved]
        _save_results(db, connection, [o for o in changed if moved[o.job.id].state is JobState.COMPLETED])
        _save_attempts(db, connection, by, changed, moved)
        claimed = (
            claim(db, connection, by, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead) if max_rows else Claim()
        )
    return moved, claimed


@lru_cache(maxsize=4)
def _update(db: Database) -> sa.TextClause:
    return sa.text(
        "UPDATE jobs SET "
        "state = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE r.state END, "
        f"completed_at = CASE WHEN r.is_final = 1 OR cancel_requested_at IS NOT NULL THEN {db.clock} END, "
        f"not_before = CASE WHEN r.delay_s > 0 THEN {db.clock} + r.delay_s END, "
        "started_at = r.started_at, batch_size = r.batch_size, error_code = r.error_code, "
        "error_message = r.error_message "
        f"FROM {db.rows_from('r', COLUMNS)} "
        "WHERE jobs.id = r.id AND jobs.generation = r.job_generation AND jobs.attempt = r.attempt "
        "AND jobs.state = 'running' AND jobs.instance_id = :instance AND jobs.instance_generation = :generation "
        "RETURNING jobs.id, jobs.state, jobs.completed_at"
    )


def _move(db: Database, connection: sa.Connection, by: Claimant, outcomes: Sequence[Outcome]) -> dict[str, Moved]:
    rows = [
        (
            o.job.id,
            o.job.generation,
            o.job.attempt,
            o.state.value,
            int(o.state in FINAL),
            o.started_at,
            o.batch_size,
            o.error_code,
            o.error_message,
            o.delay_s,
        )
        for o in outcomes
    ]
    bound = {"instance": by.instance_id, "generation": by.generation} | db.rows("r", COLUMNS, rows)
    return {
        row.id: Moved(state=JobState(row.state), completed_at=row.completed_at)
        for row in connection.execute(_update(db), bound)
    }


def _save_results(db: Database, connection: sa.Connection, outcomes: Sequence[Outcome]) -> None:
    rows = [(o.job.id, o.result or b"null") for o in outcomes]
    if not rows:
        return
    if db.is_sqlite:
        connection.exec_driver_sql("INSERT INTO results (job_id, body) VALUES (?, ?)", rows)
        return
    connection.execute(_insert_results(db), db.rows("r", RESULT_COLUMNS, rows))


@lru_cache(maxsize=4)
def _insert_results(db: Database) -> sa.TextClause:
    return sa.text(f"INSERT INTO results (job_id, body) SELECT job_id, body FROM {db.rows_from('r', RESULT_COLUMNS)}")


def _save_attempts(
    db: Database,
    connection: sa.Connection,
    by: Claimant,
    outcomes: Sequence[Outcome],
    moved: dict[str, Moved],
) -> None:
    if not outcomes:
        return
    rows = [
        (
            o.job.id,
            o.job.generation,
            o.job.attempt,
            o.job.claimed_at,
            o.started_at,
            "retried" if moved[o.job.id].state is JobState.PENDING else moved[o.job.id].state.value,
            o.batch_size,
            o.error_code,
            o.error_message,
        )
        for o in outcomes
    ]
    used = usage.rows(by, outcomes, moved)
    if db.is_sqlite:
        marks = ", ".join("?" * len(ATTEMPT_COLUMNS))
        connection.exec_driver_sql(
            f"INSERT INTO attempts ({ATTEMPT}) VALUES ({marks}, ?, ?, {db.clock})",
            [(*row, by.instance_id, by.worker) for row in rows],
        )
        connection.exec_driver_sql(ADD_USAGE, used)
        return
    bound = db.rows("r", ATTEMPT_COLUMNS, rows) | db.rows("u", usage.COLUMNS, used)
    connection.execute(_insert_attempts(db), bound | {"instance": by.instance_id, "worker": by.worker})


@lru_cache(maxsize=4)
def _insert_attempts(db: Database) -> sa.TextClause:
    """With the usage in one round trip."""
    used = usage.statement(f"SELECT {', '.join(usage.COLUMNS)} FROM {db.rows_from('u', usage.COLUMNS)}")
    return sa.text(
        f"WITH used AS ({used}) INSERT INTO attempts ({ATTEMPT}) "
        f"SELECT {', '.join(ATTEMPT_COLUMNS)}, :instance, :worker, {db.clock} "
        f"FROM {db.rows_from('r', ATTEMPT_COLUMNS)}"
    )
