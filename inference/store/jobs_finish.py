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
from inference.store.statement import Statement

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

STATES = {state.value: state for state in JobState}
OUTCOMES = {state: "retried" if state is JobState.PENDING else state.value for state in JobState}


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
        if changed:
            _save(db, connection, by, changed, moved)
        claimed = (
            claim(db, connection, by, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead) if max_rows else Claim()
        )
    return moved, claimed


@lru_cache(maxsize=4)
def _update(db: Database) -> Statement:
    return Statement(
        db,
        "UPDATE jobs SET state = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE :state END, "
        f"completed_at = CASE WHEN :is_final = 1 OR cancel_requested_at IS NOT NULL THEN {db.clock} END, "
        f"not_before = CASE WHEN CAST(:delay_s AS float8) > 0 THEN {db.clock} + CAST(:delay_s AS float8) END, "
        "started_at = :started_at, batch_size = :batch_size, error_code = :error_code, error_message = :error_message "
        f"WHERE {db.among('id', 'ids')} AND generation = :job_generation AND attempt = :attempt "
        # By their ids alone: in the index of what runs lies each job that ever ran, until a vacuum comes.
        "AND state || '' = 'running' AND instance_id = :instance AND instance_generation = :generation "
        "RETURNING id, state, completed_at",
    )


def _move(db: Database, connection: sa.Connection, by: Claimant, outcomes: Sequence[Outcome]) -> dict[str, Moved]:
    """One statement for all that ended alike, as those of one engine call do."""
    alike: dict[tuple[object, ...], list[Outcome]] = {}
    for o in outcomes:
        fence = o.job.generation, o.job.attempt
        told = o.state, o.started_at, o.batch_size, o.error_code, o.error_message, o.delay_s
        alike.setdefault((*fence, *told), []).append(o)
    update = _update(db)
    moved: dict[str, Moved] = {}
    for group in alike.values():
        first = group[0]
        bound = {
            "ids": db.texts([o.job.id for o in group]),
            "job_generation": first.job.generation,
            "attempt": first.job.attempt,
            "state": first.state.value,
            "is_final": int(first.state in FINAL),
            "delay_s": first.delay_s,
            "started_at": first.started_at,
            "batch_size": first.batch_size,
            "error_code": first.error_code,
            "error_message": first.error_message,
            "instance": by.instance_id,
            "generation": by.generation,
        }
        for job_id, state, completed_at in update.rows(connection, bound):
            moved[job_id] = Moved(state=STATES[state], completed_at=completed_at)
    return moved


def _save(
    db: Database, connection: sa.Connection, by: Claimant, outcomes: Sequence[Outcome], moved: dict[str, Moved]
) -> None:
    """Results, attempts and usage; in one round trip where there are any."""
    results = [(o.job.id, o.result or b"null") for o in outcomes if moved[o.job.id].state is JobState.COMPLETED]
    attempts = [
        (
            o.job.id,
            o.job.generation,
            o.job.attempt,
            o.job.claimed_at,
            o.started_at,
            OUTCOMES[moved[o.job.id].state],
            o.batch_size,
            o.error_code,
            o.error_message,
        )
        for o in outcomes
    ]
    used = usage.rows(by, outcomes, moved)
    if not db.is_sqlite:
        bound = db.rows("x", RESULT_COLUMNS, results) | db.rows("r", ATTEMPT_COLUMNS, attempts)
        bound |= db.rows("u", usage.COLUMNS, used) | {"instance": by.instance_id, "worker": by.worker}
        _insert(db).run(connection, bound)
        return
    add_result, add_attempt, add_usage = _inserts(db)
    if results:
        add_result.run_each(connection, results)
    add_attempt.run_each(connection, [(*row, by.instance_id, by.worker) for row in attempts])
    add_usage.run_each(connection, used)


@lru_cache(maxsize=4)
def _inserts(db: Database) -> tuple[Statement, Statement, Statement]:
    return (
        Statement(db, "INSERT INTO results (job_id, body) VALUES (?, ?)"),
        Statement(db, f"INSERT INTO attempts ({ATTEMPT}) VALUES ({_marks(len(ATTEMPT_COLUMNS) + 2)}, {db.clock})"),
        Statement(db, usage.statement(f"VALUES ({_marks(len(usage.COLUMNS))})")),
    )


def _marks(count: int) -> str:
    return ", ".join("?" * count)


@lru_cache(maxsize=4)
def _insert(db: Database) -> Statement:
    used = usage.statement(f"SELECT {', '.join(usage.COLUMNS)} FROM {db.rows_from('u', usage.COLUMNS)}")
    saved = f"INSERT INTO results (job_id, body) SELECT job_id, body FROM {db.rows_from('x', RESULT_COLUMNS)}"
    return Statement(
        db,
        f"WITH used AS ({used}), saved AS ({saved}) INSERT INTO attempts ({ATTEMPT}) "
        f"SELECT {', '.join(ATTEMPT_COLUMNS)}, :instance, :worker, {db.clock} "
        f"FROM {db.rows_from('r', ATTEMPT_COLUMNS)}",
    )
