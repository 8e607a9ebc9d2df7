"""Claim and release: the head of a service's queue goes to an instance, or comes back from it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from inference.clock import monotonic_s
from inference.errors import DeadlinePassed
from inference.jobs.choose import Candidate, choose
from inference.jobs.model import Claim, Claimant, ClaimedJob, JobState
from inference.store.database import Database
from inference.store.head import VERY_HEAD, Head
from inference.store.statement import Statement

COLUMNS = (
    "id",
    "tenant_id",
    "generation",
    "attempt",
    "max_attempts",
    "priority",
    "bucket",
    "rows",
    "crashes",
    "submitted_at",
    "claimed_at",
    "deadline",
    "timeout_s",
    "key_id",
    "metadata AS metadata_json",
    "asked_service_id",
    "input_key",
)
FIELDS = (*(column.rpartition(" ")[2] for column in COLUMNS), "payload")
BODY = "(SELECT p.body FROM payloads p WHERE p.job_id = jobs.id)"


class _Weighty(Exception):
    """A claim found what must not be lost: the end of a job, or the attempt of one that may have crashed somebody."""


def claim_alone(db: Database, by: Claimant, *, max_rows: int, min_rows: int, is_ahead: bool) -> Claim:
    """See `JobStore.claim`. On SQLite it does not wait for the disk.

    A claim that is lost with the machine's power leaves its jobs waiting, as they were, and the processes that ran
    them are lost as well: nobody is left who could finish the attempt whose number is given out again, and what the
    engine did meanwhile is done again, as after any crash. A finish waits for the disk, and with itself makes its
    claim last. On PostgreSQL the server may crash and lose a commit while workers go on; there each claim waits.
    """

    def work(is_urgent: bool) -> Claim:
        with db.write(is_urgent=is_urgent) as connection:
            found = claim(db, connection, by, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead)
            if is_urgent and (found.expired_ids or any(job.crashes for job in found.jobs)):
                raise _Weighty
            return found

    try:
        return db.again(lambda: work(is_urgent=db.is_sqlite))
    except _Weighty:
        return db.again(lambda: work(is_urgent=False))


def claim(
    db: Database, connection: sa.Connection, by: Claimant, *, max_rows: int, min_rows: int, is_ahead: bool
) -> Claim:
    """Inside a write transaction. See `JobStore.claim`."""
    bound = {"service": by.service_id, "instance": by.instance_id, "generation": by.generation, "n": max_rows + 1}
    queue, is_all = _look(db, connection, bound)
    choice = choose(queue, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead, variant=by.variant)
    if not (is_all or choice.taken):
        queue, _ = _look(db, connection, bound, is_all=True)
        choice = choose(queue, max_rows=max_rows, min_rows=min_rows, is_ahead=is_ahead, variant=by.variant)
    if choice.late:
        _expire(db, connection, [job.id for job in choice.late])
    jobs = _take(db, connection, by, [job.id for job in choice.taken], is_ahead=is_ahead) if choice.taken else ()
    return Claim(jobs=jobs, is_full=choice.is_full, expired_ids=tuple(job.id for job in choice.late))


def _look(
    db: Database, connection: sa.Connection, bound: dict[str, Any], *, is_all: bool = False
) -> tuple[list[Candidate], bool]:
    """The head of the queue, and whether nothing can stand before it. SQLite has no dead entries to walk over."""
    if db.is_sqlite:
        return [Candidate(*row) for row in _candidates(db).rows(connection, bound)], True
    head, began_s = _head(db, bound["service"]), monotonic_s()
    since = VERY_HEAD if is_all else head.begin(began_s)
    found = _candidates(db).rows(connection, bound | {"since": since})
    now_s = monotonic_s()
    *_, first, dead = found[0] if found else (None, 0)
    head.looked(since, first=first, dead=dead, took_s=now_s - began_s, now_s=now_s)
    return [Candidate(*row[:-2]) for row in found], since == VERY_HEAD


@lru_cache(maxsize=1024)
def _head(_db: Database, _service_id: str) -> Head:
    return Head()


@lru_cache(maxsize=4)
def _candidates(db: Database) -> Statement:
    """In the order of `Candidate`; then, of PostgreSQL, what `Head` asks for."""
    lock = "" if db.is_sqlite else "FOR UPDATE SKIP LOCKED"
    since = "" if db.is_sqlite else "AND order_key >= :since "
    seen = "" if db.is_sqlite else ", order_key, (SELECT pg_stat_get_dead_tuples('jobs'::regclass))"
    return Statement(
        db,
        "SELECT id, bucket, rows, batch_cap, "
        f"CASE WHEN deadline IS NOT NULL AND deadline <= {db.clock} THEN 1 ELSE 0 END AS is_late, "
        f"CASE WHEN attempt = 0 THEN input_key END AS shared_key{seen} "
        f"FROM jobs WHERE service_id = :service AND state = 'pending' AND not_before IS NULL {since}"
        "AND EXISTS (SELECT 1 FROM instances i WHERE i.id = :instance AND i.generation = :generation "
        f"AND i.lease_until > {db.clock}) "
        f"ORDER BY order_key, id LIMIT :n {lock}",
    )


def count_waiting(db: Database, *, by_key: bool) -> sa.TextClause:
    """By the index of what waits. SQLite would go through every job of the tenant, were it not for the `+`."""
    key_id, group = ("key_id", " GROUP BY key_id") if by_key else ("NULL", "")
    return sa.text(
        f"SELECT {key_id} AS key_id, count(*) AS n FROM jobs WHERE {'+' if db.is_sqlite else ''}tenant_id = :t "
        f"AND state = 'pending' AND not_before IS NULL{group}"
    )


@lru_cache(maxsize=8)
def _update(db: Database, *, is_ahead: bool) -> Statement:
    started = "NULL" if is_ahead else db.clock
    return Statement(
        db,
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, instance_id = :instance, "
        f"instance_generation = :generation, claimed_at = {db.clock}, started_at = {started}, worker = :worker, "
        f"model_version = :version, batch_size = :size WHERE {db.among('id', 'ids')} AND state || '' = 'pending' "
        f"RETURNING {', '.join(COLUMNS)}, {BODY}",
    )


def _take(
    db: Database, connection: sa.Connection, by: Claimant, ids: Sequence[str], *, is_ahead: bool
) -> tuple[ClaimedJob, ...]:
    bound = {
        "ids": db.ids(ids),
        "instance": by.instance_id,
        "generation": by.generation,
        "worker": by.worker,
        "version": by.model_version,
        "size": len(ids),
    }
    rows = {row[0]: row for row in _update(db, is_ahead=is_ahead).rows(connection, bound)}
    return tuple(_job(rows[job_id]) for job_id in ids if job_id in rows)


def _job(row: Sequence[Any]) -> ClaimedJob:
    fields = dict(zip(FIELDS, row, strict=True))
    fields["payload"] = bytes(fields["payload"] or b"")
    return ClaimedJob(**fields)


def _expire(db: Database, connection: sa.Connection, ids: Sequence[str]) -> None:
    chosen = f"SELECT r.id FROM {db.rows_from('r', {'id': 'text'})}"
    connection.execute(expire_statement(db, chosen), db.rows("r", ("id",), [(job_id,) for job_id in ids]))


def expire_statement(db: Database, chosen: str) -> sa.TextClause:
    """Ends the waiting jobs among those that the query `chosen` yields; returns their ids."""
    return sa.text(
        f"UPDATE jobs SET state = 'expired', completed_at = {db.clock}, error_code = '{DeadlinePassed.code}', "
        "error_message = 'The deadline passed before the job could be started.' "
        f"WHERE id IN ({chosen}) AND state = 'pending' RETURNING id"
    )


RELEASED = {"id": "text", "job_generation": "int", "attempt": "int"}


def release(db: Database, by: Claimant, jobs: Sequence[ClaimedJob]) -> dict[str, JobState]:
    """See `JobStore.release`. The attempt is taken back, so that numbers stay without gap; who cancelled is obeyed."""
    return _release(db, by, [(job.id, job.generation, job.attempt) for job in jobs])


def _release(db: Database, by: Claimant, jobs: Sequence[tuple[str, int, int]]) -> dict[str, JobState]:
    if not jobs:
        return {}
    statement = sa.text(
        "UPDATE jobs SET state = CASE WHEN cancel_requested_at IS NULL THEN 'pending' ELSE 'cancelled' END, "
        f"completed_at = CASE WHEN cancel_requested_at IS NOT NULL THEN {db.clock} END, "
        "attempt = jobs.attempt - 1, instance_id = NULL, "
        f"instance_generation = NULL, claimed_at = NULL, started_at = NULL FROM {db.rows_from('r', RELEASED)} "
        "WHERE jobs.id = r.id AND jobs.generation = r.job_generation AND jobs.attempt = r.attempt "
        "AND jobs.state = 'running' AND jobs.instance_id = :instance AND jobs.instance_generation = :generation "
        "RETURNING jobs.id, jobs.state"
    )
    bound = {"instance": by.instance_id, "generation": by.generation} | db.rows("r", RELEASED, jobs)

    def work() -> dict[str, JobState]:
        with db.write() as connection:
            return {row.id: JobState(row.state) for row in connection.execute(statement, bound)}

    return db.again(work)


def disown(db: Database, by: Claimant) -> dict[str, JobState]:
    """See `JobStore.disown`."""
    who = {"instance": by.instance_id, "generation": by.generation}
    mine = "state = 'running' AND instance_id = :instance AND instance_generation = :generation"
    with db.read() as connection:
        held = connection.execute(sa.text(f"SELECT id, generation, attempt FROM jobs WHERE {mine}"), who).all()
    return _release(db, by, [(row.id, row.generation, row.attempt) for row in held])
