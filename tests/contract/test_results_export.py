"""A hundred thousand results leave in memory that stays the same."""

import psutil
import sqlalchemy as sa

from api import exported
from api.v1.results import PAGE, _views
from inference.access.model import Scope
from inference.jobs.model import JobFilter
from inference.store.bulk import SqlBulk
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract.jobs import SERVICE, job, queue
from tests.parquet import in_parquet

ROWS = 100_000
MOST_BYTES = 30_000_000
SCOPE = Scope("default")


def fill(database: Database) -> None:
    """Completed jobs with ids in order, each with a result of its own."""
    if database.is_sqlite:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
        its_id, body = "printf('%032x', i)", "CAST('{\"y\":[[' || i || '.5]]}' AS BLOB)"
    else:
        numbers = "WITH n(i) AS (SELECT generate_series(1, :rows))"
        its_id, body = "lpad(to_hex(i), 32, '0')", "convert_to('{\"y\":[[' || i || '.5]]}', 'UTF8')"
    like = (
        "state, priority, order_key, submitted_at, timeout_s, bucket, rows, max_attempts, completed_at, tenant_id, "
        "service_id, generation, attempt, crashes, batch_cap"
    )
    jobs = (
        f"INSERT INTO jobs (id, {like}) {numbers} SELECT {its_id}, 'completed', 0, 1.0, 1.0, 60.0, 'b', 1, 3, 2.0, "
        "'default', :service, 1, 1, 0, 0 FROM n"
    )
    with database.write() as connection:
        connection.execute(sa.text(jobs), {"rows": ROWS, "service": SERVICE})
        connection.execute(
            sa.text(f"INSERT INTO results (job_id, body) {numbers} SELECT {its_id}, {body} FROM n"), {"rows": ROWS}
        )


def test_an_export_of_very_many_takes_no_more_memory_at_its_end(store: SqlJobs, database: Database):
    fill(database)
    queue(store, job())
    bulk, process = SqlBulk(database), psutil.Process()
    first = bulk.page(SCOPE, JobFilter(service_id=SERVICE), after=None, limit=PAGE)
    pieces = exported.written(
        exported.FORMS["csv"], _views(bulk, SCOPE, JobFilter(service_id=SERVICE), first, limit=None)
    )

    told = [(piece.count(b".5]]}"), process.memory_info().rss) for piece in pieces]

    assert sum(count for count, _ in told) == ROWS
    settled = told[len(told) // 10][1]
    assert max(rss for _, rss in told) - settled < MOST_BYTES


def test_parquet_of_very_many_is_whole_and_takes_no_more_memory_at_its_end(store: SqlJobs, database: Database):
    fill(database)
    bulk, process = SqlBulk(database), psutil.Process()
    which = JobFilter(service_id=SERVICE)
    first = bulk.page(SCOPE, which, after=None, limit=PAGE)

    told = [
        (piece, process.memory_info().rss)
        for piece in exported.as_parquet(_views(bulk, SCOPE, which, first, limit=None))
    ]

    found = in_parquet(b"".join(piece for piece, _ in told))
    assert [one["result"] for one in found] == [f'{{"y":[[{number}.5]]}}' for number in range(1, ROWS + 1)]
    settled = told[2][1]
    assert max(rss for _, rss in told) - settled < MOST_BYTES
