"""What comparisons read of a service's tasks, in short statements by key."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from inference.access.model import Scope
from inference.jobs.model import JobFilter, JobState
from inference.results.model import Ended, Span, Total
from inference.store.database import Database
from inference.store.job_filter import IS_BAD, conditions
from inference.store.scoped import jobs_in

CHUNK = 100
LARGE_BYTES = 1_000_000
READ_BYTES = 32_000_000


class SqlSamples:
    """`Samples` on SQLite or PostgreSQL. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def totals(self, scope: Scope, span: Span) -> Sequence[Total]:
        inside, bound = jobs_in(scope, "j")
        fits, more = conditions(_filter(span))
        done = f"SELECT count(*) FROM jobs j WHERE {inside}{fits} AND j.state = 'completed'"
        # Apart, since few end badly and an index knows them: to group a million costs as much again as to count them.
        bad = (
            f"SELECT j.state, j.error_code, count(*) AS n FROM jobs j{self._db.by('ix_jobs_service_bad')} "
            f"WHERE {inside}{fits} AND {IS_BAD} "
            "GROUP BY j.state, j.error_code"
        )
        with self._db.read() as connection:
            completed = int(connection.execute(sa.text(done), bound | more).scalar_one())
            rows = connection.execute(sa.text(bad), bound | more).all()
        told = [Total(state=row.state, error_code=row.error_code, count=row.n) for row in rows]
        if completed:
            told.append(Total(state=JobState.COMPLETED, error_code=None, count=completed))
        return sorted(told, key=lambda total: (total.state, total.error_code or ""))

    def newest(self, scope: Scope, span: Span, *, limit: int) -> Sequence[Ended]:
        inside, bound = jobs_in(scope, "j")
        fits, more = conditions(_filter(span, JobState.COMPLETED))
        statement = (
            "SELECT j.id, j.submitted_at AS created_at, j.started_at, j.completed_at FROM jobs j "
            f"WHERE {inside}{fits} ORDER BY j.id DESC LIMIT :limit"
        )
        with self._db.read() as connection:
            return [
                Ended(**row._asdict())
                for row in connection.execute(sa.text(statement), bound | more | {"limit": limit}).all()
            ]

    def digests(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, bytes]:
        return {
            job_id: hashlib.blake2b(body, digest_size=16).digest()
            for job_id, body in self._bodies(scope, job_ids, table="payloads b")
        }

    def bodies(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, bytes]:
        return dict(self._bodies(scope, job_ids, table="(SELECT * FROM results WHERE sha256 IS NULL) b"))

    def _bodies(self, scope: Scope, job_ids: Sequence[str], *, table: str) -> Iterator[tuple[str, bytes]]:
        inside, bound = jobs_in(scope, "j")
        statement = (
            f"SELECT b.job_id, b.body FROM {table} JOIN jobs j ON j.id = b.job_id "
            f"WHERE {self._db.among('b.job_id', 'ids')} AND {inside} AND length(b.body) <= :large"
        )
        read = 0
        for at in range(0, len(job_ids), CHUNK):
            some = job_ids[at : at + CHUNK]
            with self._db.read() as connection:
                rows = connection.execute(
                    sa.text(statement), bound | {"ids": self._db.ids(some), "large": LARGE_BYTES}
                ).all()
            for row in rows:
                yield row.job_id, bytes(row.body)
                read += len(row.body)
            if read > READ_BYTES:
                return


def _filter(span: Span, state: JobState | None = None) -> JobFilter:
    return JobFilter(
        service_id=span.service_id,
        state=state,
        model_version=span.version,
        created_from=span.since,
        created_to=span.until,
    )
