"""Answers that are kept, outside the transactions of jobs: for predictions, for who looks, and for who tidies up."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.errors import ServiceNotFound, Unavailable
from inference.jobs.cache import are_shared
from inference.jobs.cache_model import Keep, Kept, Used, Warming
from inference.jobs.model import Claimant, Outcome
from inference.serving.model import Service
from inference.store import auditing, equal_inputs, usage
from inference.store.database import Database
from inference.store.services import service_of

FLUSH_S = 1.0
"""Hits of predictions are written at most so often; the end of a process loses what was not yet."""
FORMER_S = 3_600.0
"""So long after its last use an entry of a former version is kept: who takes a version back finds it warm."""
CHUNK = 1_000

_FIND = """SELECT c.body, c.model_version FROM result_cache c
WHERE c.input_key = :key AND c.service_id || '' = :service AND c.expires_at > {clock}
AND c.model_id = (SELECT s.model_id FROM services s WHERE s.id = :service AND s.tenant_id = :tenant)"""
_USED = """SELECT count(*) AS entries, COALESCE(sum(c.size_bytes), 0) AS size_bytes, COALESCE(sum(c.hits), 0) AS hits,
COALESCE(sum(c.runs), 0) AS misses, COALESCE(sum(c.shared), 0) AS coalesced,
COALESCE(sum(CASE WHEN c.model_id <> s.model_id THEN 1 ELSE 0 END), 0) AS former
FROM result_cache c JOIN services s ON s.id = c.service_id AND s.tenant_id = :tenant
WHERE c.service_id = :service AND c.expires_at > {clock}"""
_FORGET = "DELETE FROM result_cache WHERE service_id = :service AND input_key IN (SELECT input_key FROM ({which}) AS x)"
_OVER = """SELECT input_key, sum(size_bytes) OVER (ORDER BY used_at DESC, input_key) AS so_far FROM result_cache
WHERE service_id = :service"""
_ORPHANS = "DELETE FROM result_cache WHERE NOT EXISTS (SELECT 1 FROM services s WHERE s.id = result_cache.service_id)"


class SqlResultCache:
    """`ResultCache` on SQLite or PostgreSQL. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._find = sa.text(_FIND.format(clock=database.clock))
        self._used = sa.text(_USED.format(clock=database.clock))
        self._lock = threading.Lock()
        self._hits = Counter[tuple[str, str]]()
        self._jobs = Counter[tuple[int, str, str, str]]()
        self._rows = Counter[tuple[int, str, str, str]]()
        self._flush_at = 0.0

    def find(self, service: Service, input_key: str, *, key_id: str | None, rows: int, now_s: float) -> Kept | None:
        bound = {"tenant": service.tenant_id, "service": service.id, "key": input_key}
        with self._db.read() as connection:
            row = connection.execute(self._find, bound).first()
        if row is None:
            return None
        of = int(now_s // usage.DAY_S), service.tenant_id, key_id or "", service.id
        with self._lock:
            self._hits[service.id, input_key] += 1
            self._jobs[of] += 1
            self._rows[of] += rows
            is_due = monotonic_s() >= self._flush_at
            self._flush_at = monotonic_s() + FLUSH_S if is_due else self._flush_at
        if is_due:
            self.flush()
        return Kept(body=bytes(row.body), model_version=row.model_version)

    def flush(self) -> None:
        """Writes the hits of predictions that were not yet; while the database is away they are kept."""
        with self._lock:
            hits, jobs, rows = self._hits, self._jobs, self._rows
            self._hits, self._jobs, self._rows = Counter(), Counter(), Counter()
        if not hits:
            return
        used = [(*of, "", count, rows[of], 0.0) for of, count in sorted(jobs.items())]
        try:
            with self._db.write() as connection:
                equal_inputs.note_hits(self._db, connection, hits)
                equal_inputs.add_usage(self._db, connection, used)
        except Unavailable:
            with self._lock:
                self._hits.update(hits)
                self._jobs.update(jobs)
                self._rows.update(rows)

    def put(self, by: Claimant, outcomes: Sequence[Outcome], keep: Keep) -> None:
        mine = [outcome for outcome in outcomes if are_shared(by, outcome.job.input_key)]

        def work() -> None:
            with self._db.write(is_urgent=True) as connection:
                equal_inputs.keep_answers(self._db, connection, by, mine, keep, shared={})

        if mine:
            self._db.again(work)

    def used(self, scope: Scope, service_id: str) -> Used:
        with self._db.read() as connection:
            row = connection.execute(self._used, {"tenant": scope.tenant_id, "service": service_id}).one()
        return Used(**{name: int(value) for name, value in row._mapping.items()})

    def clear(self, scope: Scope, service_id: str) -> int:
        mine = {"tenant": scope.tenant_id, "service": service_id}
        there = sa.text("SELECT 1 FROM services WHERE tenant_id = :tenant AND id = :service")
        some = sa.text(_FORGET.format(which="SELECT input_key FROM result_cache WHERE service_id = :service LIMIT :n"))
        removed, is_over = 0, False
        while not is_over:
            with self._db.write() as connection:
                if connection.execute(there, mine).first() is None:
                    raise ServiceNotFound(f"There is no service {service_id}.", service_id=service_id)
                count = connection.execute(some, mine | {"n": CHUNK}).rowcount
                removed, is_over = removed + count, count < CHUNK
                if is_over:
                    auditing.note(
                        self._db,
                        connection,
                        action="service.clear_cache",
                        kind="service",
                        object_id=service_id,
                        tenant_id=scope.tenant_id,
                        after={"entries": removed},
                    )
        return removed

    def owners(self) -> Sequence[Service]:
        wanted = sa.text(
            "SELECT * FROM services s WHERE EXISTS (SELECT 1 FROM result_cache c WHERE c.service_id = s.id) ORDER BY id"
        )
        with self._db.read() as connection:
            return [service_of(row) for row in connection.execute(wanted)]

    def trim(self, service: Service, *, limit: int = CHUNK) -> int:
        size = sa.text("SELECT COALESCE(sum(size_bytes), 0) FROM result_cache WHERE service_id = :service")
        with self._db.read() as connection:
            if connection.execute(size, {"service": service.id}).scalar_one() <= service.config.cache_max_bytes:
                return 0
        # What is least lately used has the greatest sum before it.
        least = f"SELECT input_key FROM ({_OVER}) AS o WHERE so_far > :most ORDER BY so_far DESC LIMIT :n"
        return self._forget(least, {"service": service.id, "most": service.config.cache_max_bytes, "n": limit})

    def forget(self, service: Service, *, limit: int = CHUNK) -> int:
        over = (
            f"SELECT input_key FROM result_cache WHERE service_id = :service AND (expires_at <= {self._db.clock} "
            f"OR (model_id <> :model AND used_at < {self._db.clock} - :former)) LIMIT :n"
        )
        bound = {"service": service.id, "model": service.model_id, "former": FORMER_S, "n": limit}
        return self._forget(over, bound)

    def forget_orphans(self) -> int:
        with self._db.write() as connection:
            return connection.execute(sa.text(_ORPHANS)).rowcount

    def warmings(self, service: Service) -> Sequence[Warming] | None:
        mine = {"service": service.id, "model": service.model_id}
        replicas = sa.text(
            "SELECT observed = 'ready' AND revision = :revision FROM replicas WHERE service_id = :service"
        )
        former = "FROM result_cache WHERE service_id = :service AND model_id <> :model AND payload IS NOT NULL"
        most = sa.text(f"SELECT payload, bucket, rows {former} ORDER BY hits DESC, input_key LIMIT :n")
        size = "length" if self._db.is_sqlite else "octet_length"
        told = sa.text(
            f"UPDATE result_cache SET payload = NULL, size_bytes = size_bytes - {size}(payload) "
            "WHERE service_id = :service AND model_id <> :model AND payload IS NOT NULL"
        )
        with self._db.read() as connection:
            if connection.execute(sa.text(f"SELECT 1 {former} LIMIT 1"), mine).first() is None:
                return ()
            ready = connection.execute(replicas, {"service": service.id, "revision": service.revision}).scalars().all()
        if not ready or not all(ready):
            return None
        with self._db.write() as connection:
            found = connection.execute(most, mine | {"n": service.config.cache_warm}).all()
            connection.execute(told, mine)
        return [Warming(payload=bytes(row.payload), bucket=row.bucket, rows=row.rows) for row in found]

    def _forget(self, which: str, bound: dict[str, Any]) -> int:
        def work() -> int:
            with self._db.write() as connection:
                return connection.execute(sa.text(_FORGET.format(which=which)), bound).rowcount

        return self._db.again(work)
