"""Equal inputs in the transactions of jobs: what comes is answered by what is kept, what waits by what has just run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import sqlalchemy as sa

from inference.jobs.cache import MOST_INPUT_BYTES, MOST_KEPT_BYTES, are_shared
from inference.jobs.cache_model import Keep
from inference.jobs.model import Claimant, JobState, Moved, NewJob, Outcome
from inference.store import usage
from inference.store.database import Database
from inference.store.statement import Statement

MOST_SHARED = 500
"""Waiting jobs that one batch completes besides its own; more are left to the next."""
ROW_BYTES = 256
"""What an entry takes besides its content."""
USED_S = 60.0
"""How exactly it is known when an entry was used last: an index that is written at each hit would cost more."""

WANTED = {"tenant_id": "text", "service_id": "text", "input_key": "text"}
ANSWERED = {"id": "text", "tenant_id": "text", "version": "text"}
HITS = {"service_id": "text", "input_key": "text", "n": "bigint"}
BODIES = {"job_id": "text", "body": "bytea"}
ENTRY = {
    "service_id": "text",
    "input_key": "text",
    "model_id": "text",
    "model_version": "text",
    "shared": "bigint",
    "size_bytes": "int",
    "bucket": "text",
    "rows": "int",
    "body": "bytea",
    "payload": "bytea",
}


class Mate(NamedTuple):
    """A job that waited, and the outcome that it shares."""

    id: str
    tenant_id: str
    key_id: str | None
    rows: int
    completed_at: float
    leader: Outcome


def answer_new(db: Database, connection: sa.Connection, jobs: Sequence[NewJob]) -> frozenset[str]:
    """Completes those of these jobs, just inserted, whose answer is kept; their ids. Webhooks follow by the trigger.

    What a former version answered is no answer any more, from the moment of the change.
    """
    wanted = {(job.tenant_id, job.service_id, job.input_key) for job in jobs if job.input_key is not None}
    found = {
        (service_id, key): (version, bytes(body))
        for service_id, key, version, body in _find(db).rows(connection, db.rows("r", WANTED, sorted(wanted)))
    }
    hits = {job.id: job for job in jobs if (job.service_id, job.input_key) in found}
    if not hits:
        return frozenset()
    kept = {job.id: found[job.service_id, str(job.input_key)] for job in hits.values()}
    answered = [(job.id, job.tenant_id, kept[job.id][0]) for job in hits.values()]
    ended = {row[0]: float(row[1]) for row in _complete(db).rows(connection, db.rows("r", ANSWERED, answered))}
    done = [hits[job_id] for job_id in ended]
    bodies = [(job.id, kept[job.id][1]) for job in done]
    if db.is_sqlite:
        _insert_bodies(db).run_each(connection, bodies)
    else:
        _insert_bodies(db).run(connection, db.rows("r", BODIES, bodies))
    note_hits(db, connection, Counter((job.service_id, str(job.input_key)) for job in done))
    sums = Counter[tuple[int, str, str, str]]()
    rows = Counter[tuple[int, str, str, str]]()
    for job in done:
        of = int(ended[job.id] // usage.DAY_S), job.tenant_id, job.key_id or "", job.service_id
        sums[of] += 1
        rows[of] += job.rows
    add_usage(db, connection, [(*of, "", count, rows[of], 0.0) for of, count in sorted(sums.items())])
    return frozenset(ended)


def note_hits(db: Database, connection: sa.Connection, hits: Mapping[tuple[str, str], int]) -> None:
    """In the order of their keys, against deadlocks."""
    _hit(db).run(connection, db.rows("r", HITS, [(*of, count) for of, count in sorted(hits.items())]))


def add_usage(db: Database, connection: sa.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """What was answered without an engine: no instance's, and no engine time."""
    if rows:
        _add_usage(db).run(connection, db.rows("u", usage.COLUMNS, rows))


def share(
    db: Database, connection: sa.Connection, by: Claimant, outcomes: Sequence[Outcome], moved: Mapping[str, Moved]
) -> list[Mate]:
    """Completes jobs that wait with the keys of these outcomes, and were never tried. Their results are the caller's.

    Only what completed is shared: an error, a cancellation or a crash takes nobody with it.
    """
    leaders = _leaders(by, outcomes, moved)
    if not leaders:
        return []
    bound = {
        "service": by.service_id,
        "keys": db.ids(leaders),
        "worker": by.worker,
        "version": by.model_version,
        "most": MOST_SHARED,
    }
    return [
        Mate(job_id, tenant_id, key_id, rows, completed_at, leaders[key])
        for job_id, tenant_id, key_id, rows, completed_at, key in _share(db).rows(connection, bound)
    ]


def keep_answers(
    db: Database,
    connection: sa.Connection,
    by: Claimant,
    outcomes: Iterable[Outcome],
    keep: Keep,
    *,
    shared: Mapping[str, int],
) -> None:
    """Writes what these outcomes answered, by the keys of their inputs. `shared`: how many waited for each."""
    rows = [
        (
            by.service_id,
            key,
            by.model_id,
            by.model_version,
            shared.get(key, 0),
            ROW_BYTES + len(outcome.result) + len(payload or b""),
            outcome.job.bucket,
            outcome.job.rows,
            outcome.result,
            payload,
        )
        for key, outcome in sorted({str(o.job.input_key): o for o in outcomes}.items())
        if outcome.result is not None and len(outcome.result) <= MOST_KEPT_BYTES and outcome.result_ref is None
        for payload in [outcome.job.payload if keep.has_inputs and _is_short(outcome) else None]
    ]
    if not rows:
        return
    if db.is_sqlite:
        _keep(db).run_each(connection, [(*row, keep.ttl_s) for row in rows])
    else:
        _keep(db).run(connection, db.rows("r", ENTRY, rows) | {"ttl": keep.ttl_s})


def keep_finished(
    db: Database,
    connection: sa.Connection,
    by: Claimant,
    outcomes: Sequence[Outcome],
    moved: Mapping[str, Moved],
    mates: Sequence[Mate],
    keep: Keep,
) -> None:
    """`keep_answers` of a batch that was finished."""
    shared = Counter(str(mate.leader.job.input_key) for mate in mates)
    keep_answers(db, connection, by, _leaders(by, outcomes, moved).values(), keep, shared=shared)


def _leaders(by: Claimant, outcomes: Sequence[Outcome], moved: Mapping[str, Moved]) -> dict[str, Outcome]:
    return {
        str(o.job.input_key): o
        for o in outcomes
        if are_shared(by, o.job.input_key) and moved[o.job.id].state is JobState.COMPLETED
    }


def _is_short(outcome: Outcome) -> bool:
    return len(outcome.job.payload) <= MOST_INPUT_BYTES


@lru_cache(maxsize=4)
def _find(db: Database) -> Statement:
    return Statement(
        db,
        f"SELECT c.service_id, c.input_key, c.model_version, c.body FROM {db.rows_from('r', WANTED)} "
        "JOIN result_cache c ON c.service_id = r.service_id AND c.input_key = r.input_key "
        "JOIN services s ON s.id = c.service_id AND s.tenant_id = r.tenant_id AND s.model_id = c.model_id "
        f"WHERE c.expires_at > {db.clock}",
    )


@lru_cache(maxsize=4)
def _complete(db: Database) -> Statement:
    return Statement(
        db,
        f"UPDATE jobs SET state = 'completed', completed_at = {db.clock}, model_version = r.version "
        f"FROM {db.rows_from('r', ANSWERED)} WHERE jobs.id = r.id AND jobs.tenant_id = r.tenant_id "
        "AND jobs.state || '' = 'pending' RETURNING jobs.id, jobs.completed_at",
    )


@lru_cache(maxsize=4)
def _insert_bodies(db: Database) -> Statement:
    values = "VALUES (?, ?)" if db.is_sqlite else f"SELECT job_id, body FROM {db.rows_from('r', BODIES)}"
    return Statement(db, f"INSERT INTO results (job_id, body) {values}")


@lru_cache(maxsize=4)
def _hit(db: Database) -> Statement:
    return Statement(
        db,
        "UPDATE result_cache SET hits = result_cache.hits + r.n, used_at = CASE "
        f"WHEN result_cache.used_at < {db.clock} - {USED_S} THEN {db.clock} ELSE result_cache.used_at END "
        f"FROM {db.rows_from('r', HITS)} "
        "WHERE result_cache.service_id = r.service_id AND result_cache.input_key = r.input_key",
    )


@lru_cache(maxsize=4)
def _add_usage(db: Database) -> Statement:
    names = ", ".join(usage.COLUMNS)
    return Statement(db, usage.statement(f"SELECT {names} FROM {db.rows_from('u', usage.COLUMNS)} WHERE true"))


@lru_cache(maxsize=4)
def _share(db: Database) -> Statement:
    """As a plain IN, PostgreSQL may ask for the choice again for each row, and take more than its limit."""
    lock = "" if db.is_sqlite else " FOR UPDATE SKIP LOCKED"
    waiting = (
        "SELECT id FROM jobs WHERE service_id = :service AND state = 'pending' AND input_key IS NOT NULL "
        f"AND {db.among('input_key', 'keys')} AND attempt = 0 AND (deadline IS NULL OR deadline > {db.clock}) "
        f"LIMIT :most{lock}"
    )
    once = f"IN ({waiting})" if db.is_sqlite else f"= ANY(ARRAY({waiting}))"
    return Statement(
        db,
        f"UPDATE jobs SET state = 'completed', completed_at = {db.clock}, worker = :worker, model_version = :version "
        f"WHERE id {once} AND state || '' = 'pending' "
        "RETURNING id, tenant_id, key_id, rows, completed_at, input_key",
    )


@lru_cache(maxsize=4)
def _keep(db: Database) -> Statement:
    names = [*ENTRY, "hits", "runs", "used_at", "expires_at"]
    fresh = f"0, 1, {db.clock}, {db.clock} + "
    if db.is_sqlite:
        source = f"VALUES ({', '.join('?' * len(ENTRY))}, {fresh}?)"
    else:
        source = f"SELECT {', '.join(ENTRY)}, {fresh}CAST(:ttl AS float8) FROM {db.rows_from('r', ENTRY)}"
    again = ("model_id", "model_version", "size_bytes", "body", "payload", "used_at", "expires_at")
    return Statement(
        db,
        f"INSERT INTO result_cache ({', '.join(names)}) {source} ON CONFLICT (service_id, input_key) DO UPDATE SET "
        f"{', '.join(f'{name} = excluded.{name}' for name in again)}, runs = result_cache.runs + 1, "
        "shared = result_cache.shared + excluded.shared",
    )
