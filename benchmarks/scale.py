"""`bench scale`: the ceiling of each part alone, what a job costs each process, and what 10,000 jobs/s would take."""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import ceilings, machine, measure, models, servers, systems, tables
from benchmarks.idle import role_of
from benchmarks.models import Model
from benchmarks.processes import Meter, tree
from benchmarks.systems import API, Running, call

TARGET = 10_000
ROLES = ("front", "live", "api", "engine", "worker", "control", "beat", "node", "broker", "database")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`jobs`: of each measurement."""

    jobs: int = 8_000
    kinds: Sequence[str] = servers.NAMES


def run(plan: Plan) -> dict[str, Any]:
    """All of it, in minutes; `cpu_us` is what holds on a machine that others use too."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        report: dict[str, Any] = {"benchmark": "scale", "jobs": plan.jobs, "machine": machine.describe(folder)}
        report["alone"] = ceilings.run(folder, jobs=plan.jobs, kinds=plan.kinds)
        model = models.make("tiny", folder)
        report["whole"] = {kind: _whole(kind, model, folder / f"whole-{kind}", plan) for kind in plan.kinds}
    if "postgresql" in report["whole"]:
        part = report["whole"]["postgresql"]
        report["arithmetic"] = arithmetic(part["submit to done"]["cpu_us"], part["bytes"])
    return report


def _whole(kind: str, model: Model, folder: Path, plan: Plan) -> dict[str, Any]:
    """A whole system: jobs sent to a service that does not run, then jobs sent and done, by the CPU of each role."""
    folder.mkdir()
    environ: dict[str, str] = {}
    roots: list[psutil.Process] = []
    with ExitStack() as stack:
        if kind == "postgresql":
            server = servers.postgres(folder / "server")
            stack.callback(server.stop)
            server.start()
            environ["PENSTOCK_DATABASE_URL"] = server.url
            roots.append(psutil.Process(server.process.pid))
        running = stack.enter_context(systems.penstock(model, folder / "penstock", instances=1, environ=environ))
        service = call("GET", f"{running.url}{API}/services/{running.service_id}")
        closed = call(
            "POST",
            f"{running.url}{API}/services",
            {"model_id": service["model_id"], "config": {"replicas": 1, "queue_while_stopped": True}},
        )
        sent = _spent(running, model, roots, path=f"{API}/services/{closed['service_id']}/tasks", jobs=plan.jobs)
        before = _written(environ)
        done = _spent(running, model, roots, path=running.submit, jobs=plan.jobs, waits=True)
        found = {"submit": sent, "submit to done": done}
        if before:
            log, kept = (round((now - then) / plan.jobs) for now, then in zip(_written(environ), before, strict=True))
            found["bytes"] = {"log": log, "kept": kept}
    print(f"{kind}, whole system: {found}", file=sys.stderr, flush=True)
    return found


def _written(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Bytes of PostgreSQL's log so far, and of the database now; nothing of SQLite."""
    if not (url := environ.get("PENSTOCK_DATABASE_URL")):
        return ()
    with psycopg.connect(url) as connection:
        asked = "SELECT pg_current_wal_lsn() - '0/0', pg_database_size(current_database())"
        return tuple(int(value) for value in connection.execute(asked).fetchone() or ())


def _spent(
    running: Running, model: Model, more: Sequence[psutil.Process], *, path: str, jobs: int, waits: bool = False
) -> dict[str, Any]:
    roots = [*running.roots, *more]
    before, begun = Meter.read(roots), time.perf_counter()
    order = {
        "kind": "submit", "host": "127.0.0.1", "port": running.port, "method": "POST", "path": path,
        "bodies": list(model.bodies), "count": jobs, "connections": measure.CONNECTIONS, "expected": 202,
    }  # fmt: skip
    if waits:
        order |= {"watch": running.read, "ids_file": "/dev/null", "deadline_s": 120.0}
    sent = measure.order(order)
    after = Meter.read(roots)
    by_role = dict.fromkeys(ROLES, 0.0)
    known = {process.pid: "database" for process in tree(more)}
    for process in tree(roots):
        role = known.get(process.pid) or role_of(process)
        by_role[role] = by_role.get(role, 0.0) + after.own.get(process.pid, 0.0) - before.own.get(process.pid, 0.0)
    own_s = after.own_since(before)
    return {
        "jobs_per_s": round(jobs / sent["done_s"] if waits else sent["rate"], 1),
        "cpu_us": {role: round(used / jobs * 1e6, 1) for role, used in by_role.items() if used},
        "all_us": round(own_s / jobs * 1e6, 1),
        "seconds": round(time.perf_counter() - begun, 2),
        "foreign_share": round(after.foreign_share(before, own_s=own_s + sent["generator_cpu_s"]), 2),
        "unexpected": sent["unexpected"],
    }


def arithmetic(cpu_us: Mapping[str, float], written: Mapping[str, int], *, target: int = TARGET) -> dict[str, Any]:
    """What `target` jobs/s take of each role: cores, and jobs/s that one core is good for; and of the database's disk.

    A sum in proportion to what was measured. It knows nothing of locks and networks, so it is a lower bound.
    """
    rows = {
        role: {"cpu_us": used, "cores": round(used * target / 1e6, 2), "jobs_per_s_a_core": round(1e6 / used)}
        for role, used in cpu_us.items()
        if used >= 1.0
    }
    return {
        "target": target,
        "roles": rows,
        "cores": round(sum(row["cores"] for row in rows.values()), 1),
        "log_mb_per_s": round(written["log"] * target / 1e6, 1),
        "kept_gb_per_hour": round(written["kept"] * target * 3600 / 1e9, 1),
    }


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, what each part does alone, what a job costs each process, and the sum for 10,000 a second."""
    tables.show_machine(report["machine"], console)
    alone = Table(title="each part alone; CPU us a job, in the process that asks and in the server")
    for title in ("part", "jobs/s", "calls/s", "CPU here", "CPU there"):
        alone.add_column(title, justify="left" if title == "part" else "right")
    for title, row in _rows(report["alone"]):
        cells = (f"{row[name]:,.1f}" if name in row else "" for name in ("here_us", "there_us"))
        rates = (f"{row[name]:,.0f}" if name in row else "" for name in ("jobs_per_s", "calls_per_s"))
        alone.add_row(title, *rates, *cells)
    console.print(alone)
    whole = Table(title=f"the whole system, tiny model, {report['jobs']:,} jobs: CPU us a job by role")
    whole.add_column("")
    for kind in report["whole"]:
        for name in ("submit", "submit to done"):
            whole.add_column(f"{kind}, {name}", justify="right")
    columns = [part[name] for part in report["whole"].values() for name in ("submit", "submit to done")]
    whole.add_row("jobs/s", *(f"{column['jobs_per_s']:,.0f}" for column in columns))
    whole.add_row("used by others", *(f"{column['foreign_share']:.0%}" for column in columns))
    for role in sorted({role for column in columns for role in column["cpu_us"]}):
        whole.add_row(role, *(f"{column['cpu_us'].get(role, 0.0):,.1f}" for column in columns))
    whole.add_row("all", *(f"{column['all_us']:,.1f}" for column in columns))
    console.print(whole)
    if sums := report.get("arithmetic"):
        rows = {
            role: f"{row['cores']:.2f} cores ({row['jobs_per_s_a_core']:,}/s a core)"
            for role, row in sums["roles"].items()
        }
        rows |= {
            "all": f"{sums['cores']:.1f} cores",
            "PostgreSQL's log": f"{sums['log_mb_per_s']:,.0f} MB/s",
            "kept in tables and indexes": f"{sums['kept_gb_per_hour']:,.0f} GB an hour",
        }
        tables.show_rows(f"for {sums['target']:,} jobs/s on PostgreSQL", rows, console)


def _rows(alone: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    found = [
        (f"{kind}: {title}, {size} a transaction", row)
        for kind, parts in alone["sql"].items()
        for title, sizes in parts.items()
        for size, row in sizes.items()
    ]
    found += [(f"valkey: {title}", row) for title, row in alone["redis"].items()]
    return [*found, ("nginx that answers by itself", alone["nginx"])]
