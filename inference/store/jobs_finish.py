"""Finish: states, results, attempts and usage of a batch in one fenced transaction."""

import dataclasses
import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import msgspec
import sqlalchemy as sa

from inference.errors import DataRefused
from inference.jobs.cache_model import Keep
from inference.jobs.model import FINAL, Claim, Claimant, JobState, Moved, Outcome
from inference.store import equal_inputs, usage
from inference.store.database import Database
from inference.store.jobs_claim import claim
from inference.store.statement import Statement

ATTEMPT = (
    "job_id, generation, attempt, claimed_at, started_at, outcome, batch_size, error_code, error_message, instance_id, "
    "worker, ended_at"
)
LISTS = {"ids": "text", "starts": "int", "sizes": "int"}
MOST_JOINED_BYTES = 256 << 20

STATES = {state.value: state for state in JobState}
OUTCOMES = {state: "retried" if state is JobState.PENDING else state.value for state in JobState}


def finish(
    db: Database,
    by: Claimant,
    outcomes: Sequence[Outcome],
    *,
    max_rows: int,
    min_rows: int,
    is_ahead: bool,
    keep: Keep | None = None,
) -> tuple[dict[str, Moved], Claim]:
    """See `JobStore.finish`. A result that the database refuses fails its own job; its mates keep theirs."""
    want = _Want(max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead, keep=keep)
    return _finish_all(db, by, outcomes, want)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Want:
    """What a finish is to do besides."""

    max_rows: int
    min_rows: int
    is_ahead: bool
    keep: Keep | None


def _finish_all(db: Database, by: Claimant, outcomes: Sequence[Outcome], want: _Want) -> tuple[dict[str, Moved], Claim]:
    try:
        return db.again(lambda: _finish(db, by, outcomes, want))
    except DataRefused as refusal:
        if len(outcomes) == 1:
            failed = msgspec.structs.replace(
                outcomes[0],
                state=JobState.FAILED,
                result=None,
                result_ref=None,
                error_code="output_invalid",
                error_message=f"The answer cannot be stored: {refusal.message}".replace("\0", ""),
            )
            return _finish(db, by, [failed], want)
        middle = len(outcomes) // 2
        first, before = _finish_all(db, by, outcomes[:middle], dataclasses.replace(want, max_rows=0, min_rows=1))
        second, claimed = _finish_all(db, by, outcomes[middle:], want)
        return first | second, dataclasses.replace(claimed, shared_ids=before.shared_ids + claimed.shared_ids)


def _finish(db: Database, by: Claimant, outcomes: Sequence[Outcome], want: _Want) -> tuple[dict[str, Moved], Claim]:
    mates: Sequence[equal_inputs.Mate] = ()
    with db.write() as connection:
        moved = _move(db, connection, by, outcomes) if outcomes else {}
        changed = [outcome for outcome in outcomes if outcome.job.id in moved]
        if changed:
            mates = equal_inputs.share(db, connection, by, changed, moved)
            _save(db, connection, by, changed, moved, mates)
            if want.keep is not None:
                equal_inputs.keep_finished(db, connection, by, changed, moved, mates, want.keep)
        claimed = Claim()
        if rows := want.max_rows:
            claimed = claim(db, connection, by, max_rows=rows, min_rows=want.min_rows, is_ahead=want.is_ahead)
    if mates:
        claimed = dataclasses.replace(claimed, shared_ids=tuple(mate.id for mate in mates))
    return moved, claimed


@lru_cache(maxsize=4)
def _update(db: Database) -> Statement:
    """Answers id, state and end of each that moved; on PostgreSQL it writes their attempts, too."""
    change = (
        "UPDATE jobs SET state = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE :state END, "
        f"completed_at = CASE WHEN :is_final = 1 OR cancel_requested_at IS NOT NULL THEN {db.clock} END, "
        f"not_before = CASE WHEN CAST(:delay_s AS float8) > 0 THEN {db.clock} + CAST(:delay_s AS float8) END, "
        "started_at = :started_at, batch_size = :batch_size, error_code = :error_code, error_message = :error_message "
        f"WHERE {db.among('id', 'ids')} AND generation = :job_generation AND attempt = :attempt "
        # By their ids alone: in the index of what runs lies each job that ever ran, until a vacuum comes.
        "AND state || '' = 'running' AND instance_id = :instance AND instance_generation = :generation RETURNING "
    )
    if db.is_sqlite:
        return Statement(db, f"{change} id, state, completed_at")
    kept = "id, generation, attempt, claimed_at, started_at"
    told = "batch_size, error_code, error_message, instance_id, worker"
    outcome = "CASE state WHEN 'pending' THEN 'retried' ELSE state END"
    return Statement(
        db,
        f"WITH moved AS ({change} {kept}, {told}, state, completed_at), noted AS ("
        f"INSERT INTO attempts ({ATTEMPT}) SELECT {kept}, {outcome}, {told}, CAST(:ended_at AS float8) FROM moved) "
        "SELECT id, state, completed_at FROM moved",
    )


def _move(db: Database, connection: sa.Connection, by: Claimant, outcomes: Sequence[Outcome]) -> dict[str, Moved]:
    """One statement for all that ended alike, as those of one engine call do.

    The end of an attempt is that of its engine call, as in `usage`: what is done with the answer is no engine time.
    """
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
            "ids": db.ids([o.job.id for o in group]),
            "job_generation": first.job.generation,
            "attempt": first.job.attempt,
            "state": first.state.value,
            "is_final": int(first.state in FINAL),
            "delay_s": first.delay_s,
            "started_at": first.started_at,
            "ended_at": first.ended_at,
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
    db: Database,
    connection: sa.Connection,
    by: Claimant,
    outcomes: Sequence[Outcome],
    moved: dict[str, Moved],
    mates: Sequence[equal_inputs.Mate],
) -> None:
    """Results, usage and, on SQLite, attempts. What only shared the outcome of another had no attempt."""
    completed = [(o.job.id, o) for o in outcomes if moved[o.job.id].state is JobState.COMPLETED]
    completed += [(mate.id, mate.leader) for mate in mates]
    results = [(job_id, b"" if o.result_ref is not None else o.result or b"null") for job_id, o in completed]
    used = usage.rows(by, outcomes, moved, mates)
    if not db.is_sqlite:
        _insert(db).run(connection, _joined(results) | {"used": json.dumps(used)})
        _refer(db, connection, completed)
        return
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
            by.instance_id,
            by.worker,
            o.ended_at,
        )
        for o in outcomes
    ]
    add_result, add_attempt, add_usage = _inserts(db)
    if results:
        add_result.run_each(connection, results)
    add_attempt.run_each(connection, attempts)
    add_usage.run_each(connection, used)
    _refer(db, connection, completed)


def _refer(db: Database, connection: sa.Connection, completed: Sequence[tuple[str, Outcome]]) -> None:
    """No statement for a batch whose results are small: those that are not are few, and each was written for long."""
    for job_id, outcome in completed:
        if (ref := outcome.result_ref) is not None:
            bound = {"id": job_id, "sha256": ref.sha256, "size_bytes": ref.size_bytes}
            _reference(db).run(connection, bound)


@lru_cache(maxsize=4)
def _reference(db: Database) -> Statement:
    return Statement(db, "UPDATE results SET sha256 = :sha256, size_bytes = :size_bytes WHERE job_id = :id")


@lru_cache(maxsize=4)
def _inserts(db: Database) -> tuple[Statement, Statement, Statement]:
    return (
        Statement(db, "INSERT INTO results (job_id, body) VALUES (?, ?)"),
        Statement(db, f"INSERT INTO attempts ({ATTEMPT}) VALUES ({_marks(ATTEMPT.count(',') + 1)})"),
        Statement(db, usage.statement(f"VALUES ({_marks(len(usage.COLUMNS))})")),
    )


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _joined(results: Sequence[tuple[str, bytes]]) -> dict[str, object]:
    """All results as one value, and where each begins. Raises DataRefused for more than one value should have."""
    sizes = [len(body) for _, body in results]
    if sum(sizes) > MOST_JOINED_BYTES and len(sizes) > 1:
        raise DataRefused("The results of this batch are too large to be written together.")
    return {
        "ids": ",".join(job_id for job_id, _ in results),
        "starts": ",".join(map(str, list(accumulate(sizes, initial=1))[:-1])),
        "sizes": ",".join(map(str, sizes)),
        "bodies": b"".join([body for _, body in results]),
    }


@lru_cache(maxsize=4)
def _insert(db: Database) -> Statement:
    """For PostgreSQL, in one round trip. One value each, since psycopg makes an array element by element, in Python."""
    lists = ", ".join(f"CAST(string_to_array(:{name}, ',') AS {kind}[])" for name, kind in LISTS.items())
    bodies = (
        f"SELECT id, substring(CAST(:bodies AS bytea) FROM start FOR size) FROM unnest({lists}) AS x(id, start, size)"
    )
    columns = ", ".join(f"CAST(value->>{i} AS {kind})" for i, kind in enumerate(usage.COLUMNS.values()))
    used = usage.statement(f"SELECT {columns} FROM json_array_elements(CAST(:used AS json)) AS u(value)")
    return Statement(db, f"WITH saved AS (INSERT INTO results (job_id, body) {bodies}) {used}")
