"""`bench results`: lists, single results, comparisons and the first byte of an export beside a million tasks."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from api import compared, exported
from api.v1.results import PAGE
from benchmarks import fill, machine, servers, tables
from benchmarks.percentiles import quantiles_ms
from inference.access.model import Scope
from inference.jobs.block import Page
from inference.jobs.model import JobFilter, JobState
from inference.results.model import Span
from inference.results.ports import ResultsPorts
from inference.results.sides import compare_versions
from inference.store.bulk import SqlBulk
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.samples import SqlSamples

SERVICE = f"{0:032x}"
SCOPE = Scope("default")
BEGIN = 1_795_000_000.0
APART_S = 2.0
RARE = 5_000
WANTED_MS = 1_000.0
EXPORTED = 100_000
CHUNK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tasks two seconds apart, one in 5,000 failed, two versions in turns, inputs of which 100 differ."""

    rows: int = 1_000_000
    rounds: int = 20
    databases: tuple[str, ...] = servers.NAMES


def run(plan: Plan) -> dict[str, Any]:
    """Milliseconds of each question by wall clock, and CPU of its process; the export to its end."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        report: dict[str, Any] = {"benchmark": "results", "rows": plan.rows, "machine": machine.describe(folder)}
        report["databases"] = {}
        for kind in plan.databases:
            with servers.database(kind, folder / kind) as db:
                _fill(db, plan.rows)
                report["databases"][kind] = _measure(db, plan)
    report["figures"] = [
        {"name": f"{kind}: {question}, p95 ms", "measured": told["wall"]["p95"], "sign": "<", "wanted": WANTED_MS,
         "is_reached": told["wall"]["p95"] < WANTED_MS}
        for kind, part in report["databases"].items()
        for question, told in part["questions"].items()
    ]  # fmt: skip
    return report


def _questions(db: Database, rows: int) -> Iterator[tuple[str, Callable[[int], object]]]:
    """Each takes the number of its round, so that none asks for what the one before it has just read."""
    jobs, bulk = SqlJobs(db), SqlBulk(db)
    ports = ResultsPorts(samples=SqlSamples(db))

    def at(number: int) -> float:
        return BEGIN + APART_S * (number * 7_919 % rows)

    def listed(**which: Any) -> Callable[[int], object]:
        return lambda _: jobs.list(SCOPE, JobFilter(service_id=SERVICE, limit=101, **which))

    def exporting(number: int) -> object:
        which = JobFilter(service_id=SERVICE, created_from=at(number))
        page = bulk.page(SCOPE, which, after=None, limit=PAGE)
        return next(exported.written(exported.FORMS["csv"], iter([page.views])))

    def comparing(number: int) -> object:
        views = jobs.get_many(SCOPE, [_id(number * 7_919 % rows + step) for step in range(20)])
        done = [view for view in views.values() if view.state is JobState.COMPLETED]
        return compared.of_tasks(done, tolerance=0.001)

    yield "newest tasks", listed()
    yield "failed tasks", listed(state=JobState.FAILED)
    yield "by error", listed(error_code="engine_failed")
    yield "by worker, none", listed(worker="nobody")
    yield (
        "an hour",
        lambda number: jobs.list(
            SCOPE, JobFilter(service_id=SERVICE, created_from=at(number), created_to=at(number) + 3_600, limit=101)
        ),
    )
    yield "one result", lambda number: jobs.get(SCOPE, _id(number * 7_919 % rows))
    yield "export, first bytes", exporting
    yield "compare 20 tasks", comparing
    yield (
        "compare versions, a day",
        lambda number: compare_versions(
            ports,
            scope=SCOPE,
            service_id=SERVICE,
            versions=("1.0.0", "1.1.0"),
            since=at(number),
            until=at(number) + 86_400,
        ),
    )
    span = Span(service_id=SERVICE)
    yield "count all by end", lambda _: ports.samples.totals(SCOPE, span)


def _measure(db: Database, plan: Plan) -> dict[str, Any]:
    told = {}
    for name, ask in _questions(db, plan.rows):
        wall, cpu = [], []
        for number in range(plan.rounds):
            begun, spent = time.perf_counter(), time.process_time()
            ask(number)
            wall.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - spent)
        told[name] = {"wall": quantiles_ms(wall), "cpu": quantiles_ms(cpu)}
    return {"questions": told, "export_us_per_row": {name: _export(db, form) for name, form in exported.FORMS.items()}}


def _export(db: Database, form: exported.Form) -> float:
    """CPU of this process for each row, in microseconds."""
    bulk = SqlBulk(db)
    which = JobFilter(service_id=SERVICE, created_to=BEGIN + APART_S * EXPORTED)
    count = 0

    def pieces() -> Iterator[Any]:
        nonlocal count
        after: str | None = None
        while True:
            page: Page = bulk.page(SCOPE, which, after=after, limit=PAGE)
            count += len(page.views)
            yield page.views
            if (after := page.after) is None:
                return

    begun = time.process_time()
    for _ in exported.written(form, pieces()):
        pass
    return round(1e6 * (time.process_time() - begun) / count, 1)


def _id(number: int) -> str:
    return f"{int((BEGIN + APART_S * number) * 1000):012x}7{0:03x}8{number:015x}"


def _fill(db: Database, rows: int) -> None:
    """Tasks that are over, each with a result; ids as `new_id` would make them at their time."""
    fill.service(db)
    at = f"{BEGIN} + i * {APART_S}"
    ms = f"CAST(({at}) * 1000 AS {'INTEGER' if db.is_sqlite else 'bigint'})"
    if db.is_sqlite:
        numbers = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
        its_id, blob = f"printf('%012x70008%015x', {ms}, i)", "CAST({} AS BLOB)"
    else:
        numbers = "WITH n(i) AS (SELECT generate_series(CAST(:first AS integer), CAST(:last AS integer)))"
        its_id = f"lpad(to_hex({ms}), 12, '0') || '70008' || lpad(to_hex(i), 15, '0')"
        blob = "convert_to({}, 'UTF8')"
    failed = f"i % {RARE} = 7"
    jobs = (
        "INSERT INTO jobs (id, tenant_id, service_id, state, priority, order_key, submitted_at, timeout_s, bucket, "
        "rows, max_attempts, generation, attempt, crashes, batch_cap, claimed_at, started_at, completed_at, "
        f"batch_size, model_version, worker, error_code) {numbers} SELECT {its_id}, 'default', '{SERVICE}', "
        f"CASE WHEN {failed} THEN 'failed' ELSE 'completed' END, i % 10, {at}, {at}, 60.0, 'b', 1, 3, 1, 1, 0, 0, "
        f"{at}, {at}, {at} + 0.01, 8, CASE WHEN i % 2 = 0 THEN '1.0.0' ELSE '1.1.0' END, 'w.0@host', "
        f"CASE WHEN {failed} THEN 'engine_failed' END FROM n"
    )
    result = blob.format("'{\"y\":[[0.25,' || (i % 100) || '.5,0.75]]}'")
    payload = blob.format("CAST(i / 2 % 100 AS text)")
    beside = [
        f"INSERT INTO {table} (job_id, body) {numbers} SELECT {its_id}, {body} FROM n"
        for table, body in (("results", result), ("payloads", payload))
    ]
    for first in range(0, rows, CHUNK):
        for statement in (jobs, *beside):
            with db.write() as connection:
                connection.execute(sa.text(statement), {"first": first, "last": min(first + CHUNK, rows) - 1})
    if not db.is_sqlite:  # what autovacuum does within a minute
        with db.write() as connection:
            connection.exec_driver_sql("ANALYZE")


def show(report: dict[str, Any], console: Console) -> None:
    """A table for each database, then the figures."""
    tables.show_machine(report["machine"], console)
    for kind, part in report["databases"].items():
        table = Table(title=f"{kind}, {report['rows']:,} tasks, ms")
        for title in ("", "p50", "p95", "its CPU p50", "p95"):
            table.add_column(title, justify="right" if title else "left")
        for name, told in part["questions"].items():
            table.add_row(name, *(f"{told[of][p]:.1f}" for of in ("wall", "cpu") for p in ("p50", "p95")))
        console.print(table)
        rates = ", ".join(f"{name} {us:.0f}" for name, us in part["export_us_per_row"].items())
        console.print(f"  CPU us a row of an export of {EXPORTED:,}: {rates}", highlight=False)
    tables.show_figures(report["figures"], console)
