"""`bench report`: reports beside a million tasks, each made by the process that makes them in the product."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import fill, machine, servers, tables
from inference.access.model import Scope
from inference.ids import DEFAULT_TENANT, new_id
from inference.reports.model import Format, Report, ReportState
from inference.store.database import Database
from inference.store.reports import SqlReports
from inference.store.series import SqlSeries
from inference.telemetry.sample import Work
from inference.telemetry.series import HOUR, MINUTE, Span

ROOT = Path(__file__).parents[1]
DAY_S = 86_400
WANTED_S = 10.0
CHUNK = 20_000
FAILED = 1_000
SLOW = 50_000
CASES = (
    ("a service, a day, html", 0, DAY_S, Format.HTML, "en"),
    ("a service, a week, html", 0, 7 * DAY_S, Format.HTML, "en"),
    ("a service, a week, pdf", 0, 7 * DAY_S, Format.PDF, "en"),
    ("all, a day, html", None, DAY_S, Format.HTML, "en"),
    ("all, a week, html", None, 7 * DAY_S, Format.HTML, "en"),
    ("all, a week, pdf in Chinese", None, 7 * DAY_S, Format.PDF, "zh"),
)
"""Name, which service (None: all), range, format, language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tasks of the last week, evenly spread over it and over the services; one in 1,000 failed."""

    rows: int = 1_000_000
    services: int = 4
    rounds: int = 3
    databases: Sequence[str] = servers.NAMES


def run(plan: Plan) -> dict[str, Any]:
    """Seconds from the start of the maker to its end, its CPU and its memory; the middle one of the rounds."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        report: dict[str, Any] = {"benchmark": "report", "rows": plan.rows, "machine": machine.describe(folder)}
        report["databases"] = {}
        for kind in plan.databases:
            with servers.database(kind, folder / kind) as db:
                end = int(time.time()) // HOUR * HOUR
                _fill(db, plan, end)
                report["databases"][kind] = {case[0]: _measure(db, folder, plan, end, case) for case in CASES}
    report["figures"] = [
        {"name": f"{kind}: {case}, s", "measured": told["wall_s"], "sign": "<", "wanted": WANTED_S,
         "is_reached": told["wall_s"] < WANTED_S}
        for kind, part in report["databases"].items()
        for case, told in part.items()
    ]  # fmt: skip
    return report


def _measure(db: Database, folder: Path, plan: Plan, end: int, case: tuple[Any, ...]) -> dict[str, Any]:
    name, number, length, form, language = case
    store, found = SqlReports(db), []
    for _ in range(plan.rounds):
        made = store.ask(
            Report(
                id=new_id(),
                tenant_id=DEFAULT_TENANT,
                service_id="" if number is None else f"{number:032x}",
                format=form,
                language=language,
                timezone="UTC",
                since=end - length,
                until=end,
            ),
            most=10,
        )
        found.append(_made(db, folder))
        over = store.get(Scope(DEFAULT_TENANT), made.id)
        if over.state is not ReportState.COMPLETED:
            raise SystemExit(f"bench report: {name}: {over.error_message}")
        found[-1]["size_bytes"] = over.size_bytes
    return sorted(found, key=lambda one: one["wall_s"])[len(found) // 2]


def _made(db: Database, folder: Path) -> dict[str, Any]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
        "PENSTOCK_DATABASE_URL": db.url.render_as_string(hide_password=False),
        "PENSTOCK_DATA_DIR": str(folder / "data"),
        "PENSTOCK_REDIS_URL": "redis://127.0.0.1:1",  # a report needs none
        "PENSTOCK_LOGS__IS_KEPT": "false",
    }
    begun = time.perf_counter()
    told = folder / "maker.log"
    with told.open("wb") as log:
        maker = subprocess.Popen([sys.executable, "-m", "workers.report_maker"], cwd=ROOT, env=environ, stderr=log)
    peak_kb, pid = 0, 0
    while not pid:  # the usage that is told at its end counts what its parent had when it was forked
        peak_kb = max(peak_kb, _peak_kb(maker.pid))
        time.sleep(0.02)
        pid, status, used = os.wait4(maker.pid, os.WNOHANG)
    maker.returncode = os.waitstatus_to_exitcode(status)
    if maker.returncode:
        raise SystemExit(f"bench report: the maker ended with {maker.returncode}: {told.read_text()[-1_000:]}")
    return {
        "wall_s": round(time.perf_counter() - begun, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "memory_bytes": peak_kb * 1024,
    }


def _peak_kb(pid: int) -> int:
    """The most that the process had in memory so far; 0 once it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _duration_s(number: int) -> float:
    """Of a task: 10 to 110 ms, and 5 s for a few; the same in SQL below."""
    return 5.0 if number % SLOW == SLOW - 1 else 0.01 + (number * 7_919 % 1_000) * 0.0001


def _fill(db: Database, plan: Plan, end: int) -> None:
    """The tasks, and the series that the sampler would have made of them."""
    for number in range(plan.services):
        fill.service(db, number)
    begin, apart = end - 7 * DAY_S, 7 * DAY_S / plan.rows
    _fill_jobs(db, plan, begin, apart)
    minutes: dict[tuple[int, int], tuple[list[float], int]] = {}
    for number in range(plan.rows):
        place = number % plan.services, int(begin + number * apart) // MINUTE * MINUTE
        durations, failed = minutes.get(place) or ([], 0)
        if number % FAILED == 7:
            failed += 1
        else:
            durations.append(_duration_s(number))
        minutes[place] = durations, failed
    hours: dict[tuple[int, int], Span] = {}
    rows = []
    for (service, at), (durations, failed) in sorted(minutes.items()):
        span = Span(service_id=f"{service:032x}", step_s=MINUTE, at=at, work=_work(durations, failed), looks=60)
        span.gpu_share, span.gpu_source, span.cpu, span.submitted = 0.4, "replay", 1.2, len(durations)
        rows.append(span)
        hour = at // HOUR * HOUR
        hours.setdefault((service, hour), Span(service_id=span.service_id, step_s=HOUR, at=hour)).merge(span)
    series = SqlSeries(db)
    for first in range(0, len(rows), CHUNK):
        series.put(rows[first : first + CHUNK])
    series.put(list(hours.values()))
    if not db.is_sqlite:  # what autovacuum does within a minute
        with db.write() as connection:
            connection.exec_driver_sql("ANALYZE")


def _work(durations: list[float], failed: int) -> Work:
    made = Work(completed=len(durations), failed=failed, tasks_run=len(durations), batches=len(durations) / 8)
    made.latency_s, made.run_s = sum(durations), sum(durations) / 2
    made.latencies.add(durations)
    made.waits.add(duration / 2 for duration in durations)
    if failed:
        made.errors["engine_failed"] = failed
    return made


def _fill_jobs(db: Database, plan: Plan, begin: int, apart: float) -> None:
    at = f"{begin} + i * {apart!r}"
    ms = f"CAST(({at}) * 1000 AS {'INTEGER' if db.is_sqlite else 'bigint'})"
    if db.is_sqlite:
        numbers = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
        its_id, service = f"printf('%012x70008%015x', {ms}, i)", f"printf('%032x', i % {plan.services})"
    else:
        numbers = "WITH n(i) AS (SELECT generate_series(CAST(:first AS integer), CAST(:last AS integer)))"
        its_id = f"lpad(to_hex({ms}), 12, '0') || '70008' || lpad(to_hex(i), 15, '0')"
        service = f"lpad(to_hex(i % {plan.services}), 32, '0')"
    took = f"CASE WHEN i % {SLOW} = {SLOW - 1} THEN 5.0 ELSE 0.01 + (CAST(i AS bigint) * 7919 % 1000) * 0.0001 END"
    failed = f"i % {FAILED} = 7"
    insert = sa.text(
        "INSERT INTO jobs (id, tenant_id, service_id, state, priority, order_key, submitted_at, timeout_s, bucket, "
        "rows, max_attempts, generation, attempt, crashes, batch_cap, claimed_at, started_at, completed_at, "
        f"batch_size, model_version, worker, error_code, error_message) {numbers} SELECT {its_id}, "
        f"'{DEFAULT_TENANT}', {service}, CASE WHEN {failed} THEN 'failed' ELSE 'completed' END, 0, {at}, "
        f"{at} - ({took}), 60.0, 'b', 1, 3, 1, 1, 0, 0, {at} - ({took}) / 2, {at} - ({took}) / 2, {at}, 8, '1.0.0', "
        f"'w.0@host', CASE WHEN {failed} THEN 'engine_failed' END, CASE WHEN {failed} THEN 'It broke.' END FROM n"
    )
    for first in range(0, plan.rows, CHUNK):
        with db.write() as connection:
            connection.execute(insert, {"first": first, "last": min(first + CHUNK, plan.rows) - 1})


def show(report: dict[str, Any], console: Console) -> None:
    """A table for each database, then the figures."""
    tables.show_machine(report["machine"], console)
    for kind, part in report["databases"].items():
        table = Table(title=f"{kind}, reports beside {report['rows']:,} tasks")
        for title in ("", "s", "CPU s", "memory MB", "file KB"):
            table.add_column(title, justify="right" if title else "left")
        for name, told in part.items():
            sizes = f"{told['memory_bytes'] / 1e6:.0f}", f"{told['size_bytes'] / 1e3:.0f}"
            table.add_row(name, f"{told['wall_s']:.2f}", f"{told['cpu_s']:.2f}", *sizes)
        console.print(table)
    tables.show_figures(report["figures"], console)
