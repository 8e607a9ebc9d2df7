"""Equal inputs in the transactions of jobs: what comes is answered by what is kept, what waits by what has just run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
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

BODIES = {"job_id": "text", "body": "bytea"}
LISTS = {"keys": "text", "shares": "bigint", "buckets": "text", "rows": "int"}


class Entry(NamedTuple):
    """What is to be kept, in the order of LISTS. `payload` is empty where it is not."""

    key: str
    shared: int
    bucket: str
    rows: int
    body: bytes
    payload: bytes

    @property
    def size_bytes(self) -> int:
        return ROW_BYTES + len(self.body) + len(self.payload)


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
    wanted: dict[tuple[str, str], set[str]] = {}
    for job in jobs:
        if job.input_key is not None:
            wanted.setdefault((job.tenant_id, job.service_id), set()).add(job.input_key)
    found = {}
    for (tenant_id, service_id), keys in wanted.items():
        bound = {"tenant": tenant_id, "service": service_id, "keys": db.ids(keys)}
        for key, version, body in _find(db).rows(connection, bound):
            found[service_id, key] = version, bytes(body)
    hits = {job.id: job for job in jobs if (job.service_id, job.input_key) in found}
    if not hits:
        return frozenset()
    kept = {job.id: found[job.service_id, str(job.input_key)] for job in hits.values()}
    alike: dict[tuple[str, str], list[str]] = {}
    for job in hits.values():
        alike.setdefault((job.tenant_id, kept[job.id][0]), []).append(job.id)
    ended: dict[str, float] = {}
    for (tenant_id, version), ids in alike.items():
        bound = {"version": version, "ids": db.ids(ids), "tenant": tenant_id}
        ended |= {job_id: float(at) for job_id, at in _complete(db).rows(connection, bound)}
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
    """Those that were hit as often in one statement."""
    alike: dict[tuple[str, int], list[str]] = {}
    for (service_id, key), count in hits.items():
        alike.setdefault((service_id, count), []).append(key)
    for (service_id, count), keys in sorted(alike.items()):
        _hit(db).run(connection, {"n": count, "service": service_id, "keys": db.ids(sorted(keys))})


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
    entries = [
        Entry(key, shared.get(key, 0), outcome.job.bucket, outcome.job.rows, outcome.result, payload)
        for key, outcome in sorted({str(o.job.input_key): o for o in outcomes}.items())
        if outcome.result is not None and len(outcome.result) <= MOST_KEPT_BYTES and outcome.result_ref is None
        for payload in [outcome.job.payload if keep.has_inputs and _is_short(outcome) else b""]
    ]
    if not entries:
        return
    of = {"service": by.service_id, "model": by.model_id, "version": by.model_version, "ttl": keep.ttl_s}
    if db.is_sqlite:
        first = tuple(of.values())
        _keep(db).run_each(connection, [(*first, *one[:-1], one.payload or None, one.size_bytes) for one in entries])
        return
    columns = {name: [entry[at] for entry in entries] for at, name in enumerate(LISTS)}
    bodies = [content for entry in entries for content in (entry.body, entry.payload)]
    lists = {name: ",".join(map(str, values)) for name, values in columns.items() if name != "buckets"}
    sizes = [",".join(map(str, map(len, bodies[at::2]))) for at in (0, 1)]
    starts = list(accumulate(map(len, bodies), initial=1))[:-1]
    bound = {"buckets": columns["buckets"], "starts": ",".join(map(str, starts[::2])), "bodies": b"".join(bodies)}
    _keep(db).run(connection, of | lists | bound | {"sizes": sizes[0], "input_sizes": sizes[1]})


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
    """By the keys alone, and a look into their index for each.

    A plan is made while the table is all but empty, and kept: then it seems not to matter to go over all of it.
    """
    mine = "c.input_key = r.value AND c.service_id || '' = :service"
    if db.is_sqlite:  # which takes the two in the order of a CROSS JOIN
        wanted = "json_each(:keys) r CROSS JOIN result_cache c"
    else:
        listed = "unnest(string_to_array(:keys, ',')) AS r(value)"
        wanted = f"{listed} CROSS JOIN LATERAL (SELECT * FROM result_cache c WHERE {mine} OFFSET 0) c"
    return Statement(
        db,
        f"SELECT c.input_key, c.model_version, c.body FROM {wanted} WHERE {mine} AND c.expires_at > {db.clock} "
        "AND c.model_id = (SELECT s.model_id FROM services s WHERE s.id = :service AND s.tenant_id = :tenant)",
    )


@lru_cache(maxsize=4)
def _complete(db: Database) -> Statement:
    return Statement(
        db,
        f"UPDATE jobs SET state = 'completed', completed_at = {db.clock}, model_version = :version "
        f"WHERE {db.among('id', 'ids')} AND tenant_id = :tenant AND state || '' = 'pending' "
        "RETURNING id, completed_at",
    )


@lru_cache(maxsize=4)
def _insert_bodies(db: Database) -> Statement:
    values = "VALUES (?, ?)" if db.is_sqlite else f"SELECT job_id, body FROM {db.rows_from('r', BODIES)}"
    return Statement(db, f"INSERT INTO results (job_id, body) {values}")


@lru_cache(maxsize=4)
def _hit(db: Database) -> Statement:
    return Statement(
        db,
        "UPDATE result_cache SET hits = hits + CAST(:n AS bigint), "
        f"used_at = CASE WHEN used_at < {db.clock} - {USED_S} THEN {db.clock} ELSE used_at END "
        f"WHERE service_id || '' = :service AND {db.among('input_key', 'keys')}",
    )


@lru_cache(maxsize=4)
def _add_usage(db: Database) -> Statement:
    names = ", ".join(usage.COLUMNS)
    return Statement(db, usage.statement(f"SELECT {names} FROM {db.rows_from('u', usage.COLUMNS)} WHERE true"))


@lru_cache(maxsize=4)
def _share(db: Database) -> Statement:
    """By the keys alone: through the index of its service PostgreSQL would go over every job that the service ever had.

    As a plain IN, it may ask for the choice again for each row, and take more than its limit.
    """
    lock = "" if db.is_sqlite else " FOR UPDATE SKIP LOCKED"
    waiting = (
        "SELECT id FROM jobs WHERE service_id || '' = :service AND state = 'pending' AND input_key IS NOT NULL "
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
    """On PostgreSQL lists are texts, and contents one value: psycopg makes an array element by element, in Python."""
    names = (
        "service_id, model_id, model_version, expires_at, input_key, shared, bucket, rows, body, payload, size_bytes, "
        "hits, runs, used_at"
    )
    fresh = f"0, 1, {db.clock}"
    if db.is_sqlite:
        source = f"VALUES (?, ?, ?, {db.clock} + ?, {', '.join('?' * 7)}, {fresh})"
    else:
        lists = ", ".join(
            "CAST(:buckets AS text[])" if name == "buckets" else f"CAST(string_to_array(:{name}, ',') AS {kind}[])"
            for name, kind in LISTS.items()
        )
        cuts = ", ".join(f"CAST(string_to_array(:{name}, ',') AS int[])" for name in ("starts", "sizes", "input_sizes"))
        source = (
            f"SELECT :service, :model, :version, {db.clock} + CAST(:ttl AS float8), input_key, shared, bucket, rows, "
            "substring(all_of FROM start FOR size), "
            "CASE WHEN input_size > 0 THEN substring(all_of FROM start + size FOR input_size) END, "
            f"{ROW_BYTES} + size + input_size, {fresh} FROM (SELECT CAST(:bodies AS bytea) AS all_of) AS b, "
            f"unnest({lists}, {cuts}) AS x(input_key, shared, bucket, rows, start, size, input_size)"
        )
    again = ("model_id", "model_version", "size_bytes", "body", "payload", "used_at", "expires_at")
    return Statement(
        db,
        f"INSERT INTO result_cache ({names}) {source} ON CONFLICT (input_key, service_id) DO UPDATE SET "
        f"{', '.join(f'{name} = excluded.{name}' for name in again)}, runs = result_cache.runs + 1, "
        "shared = result_cache.shared + excluded.shared",
    )
