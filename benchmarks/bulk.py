"""`bench bulk`: JSON Lines in and results out, through the front, and what single tasks feel of it meanwhile."""

import contextlib
import http.client
import json
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import machine, models, servers, systems, tables
from benchmarks.idle import role_of
from benchmarks.models import Model
from benchmarks.percentiles import quantiles_ms
from benchmarks.processes import Meter, tree
from benchmarks.systems import API, Running, call
from inference.settings import StoreSettings
from inference.store.database import Database

LINES = "application/x-ndjson"
BLOCK = 1_000
WANTED_PER_S = 20_000
SAMPLE_S = 0.1
FILL_ROWS = 20_000
RESULT = '{"y":[[0.25,0.75]]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`jobs` lines in and results out; `beside_per_s` single tasks, submitted to done, meanwhile and at rest."""

    jobs: int = 500_000
    beside_per_s: float = 20.0
    rest_s: float = 5.0
    databases: tuple[str, ...] = servers.NAMES


class Watch:
    """CPU by role, and the largest memory of any one API process, while it is open."""

    def __init__(self, roots: Sequence[psutil.Process]) -> None:
        self._roots = roots
        self._roles: dict[int, str] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> "Watch":
        self.before_bytes = self._largest()
        self._first = Meter.read(self._roots)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._last = Meter.read(self._roots)

    def _look(self) -> None:
        while not self._end.wait(SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, self._largest())

    def _largest(self) -> int:
        largest = 0
        for process in tree(self._roots):
            with contextlib.suppress(psutil.Error):
                if process.pid not in self._roles:
                    self._roles[process.pid] = _role(process)
                role = self._roles[process.pid]
                if role == "api":
                    largest = max(largest, process.memory_info().rss)
        return largest

    def report(self, jobs: int) -> dict[str, Any]:
        used: dict[str, float] = defaultdict(float)
        for pid, seconds in self._last.own.items():
            used[self._roles.get(pid, "gone")] += seconds - self._first.own.get(pid, 0.0)
        span_s, own_s = self._last.at - self._first.at, self._last.own_since(self._first)
        return {
            "per_s": jobs / span_s,
            "seconds": span_s,
            "cpu_us_per_job": {role: 1e6 * seconds / jobs for role, seconds in sorted(used.items())},
            "api_rss_mb": {"before": self.before_bytes / 1e6, "peak": self.peak_bytes / 1e6},
            "foreign_share": self._last.foreign_share(self._first, own_s=own_s),
        }


def _role(process: psutil.Process) -> str:
    """A role of ours; of PostgreSQL, those that serve connections apart from those that clean up."""
    if "postgres" not in process.name():
        return role_of(process)
    return "database" if "127.0.0.1" in " ".join(process.cmdline()) else "its upkeep"


class Beside:
    """Single tasks at a steady rate, each waited for: how long to the 202, and to the answer."""

    def __init__(self, running: Running, model: Model, *, per_s: float) -> None:
        self._running, self._model, self._pause_s = running, model, 1 / per_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.submit_s: list[float] = []
        self.done_s: list[float] = []
        self.refused = 0

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _ask(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=60)
        number = 0
        while not self._end.wait(self._pause_s):
            body = self._model.bodies[number % len(self._model.bodies)]
            number += 1
            begun = time.perf_counter()
            line.request("POST", self._running.submit, body, {"Content-Type": "application/json"})
            answer = line.getresponse()
            told = json.loads(answer.read())
            if answer.status != 202:
                self.refused += 1
                continue
            self.submit_s.append(time.perf_counter() - begun)
            line.request("GET", self._running.wait.format(id=told["task_id"]))
            line.getresponse().read()
            self.done_s.append(time.perf_counter() - begun)
        line.close()

    def report(self) -> dict[str, Any]:
        return {
            "tasks": len(self.submit_s),
            "refused": self.refused,
            "submit_ms": quantiles_ms(self.submit_s),
            "done_ms": quantiles_ms(self.done_s),
        }


def run(plan: Plan) -> dict[str, Any]:
    """For each database: lines in, results out, and single tasks beside both."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL does not run as root, and has to reach its own
        report: dict[str, Any] = {"benchmark": "bulk", "jobs": plan.jobs, "machine": machine.describe(folder)}
        model = models.make("tiny", folder)
        report["databases"] = {kind: _measure(plan, kind, model, folder / kind) for kind in plan.databases}
    report["figures"] = [
        {
            "name": f"{what}, {kind}, /s",
            "measured": part[what]["per_s"],
            "sign": ">",
            "wanted": WANTED_PER_S,
            "is_reached": part[what]["per_s"] > WANTED_PER_S,
        }
        for kind, part in report["databases"].items()
        for what in ("in", "out")
    ]
    return report


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[tuple[dict[str, str], Sequence[psutil.Process]]]:
    """The setting that names it, and the processes that are it."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    if kind == "sqlite":
        yield {}, ()
        return
    server = servers.postgres(folder / "server")
    server.start()
    try:
        yield {"PENSTOCK_DATABASE_URL": server.url}, (psutil.Process(server.process.pid),)
    finally:
        server.stop()


def _measure(plan: Plan, kind: str, model: Model, folder: Path) -> dict[str, Any]:
    with _database(kind, folder) as (environ, its_roots), systems.up(folder / "up", environ=environ) as empty:
        model_id = systems.register(empty.url, model)
        served = systems.serving(empty, systems.create_and_start(empty.url, model_id)[0])
        systems.first_answer(served, model)
        config = {"model_id": model_id, "name": "bulk", "config": {"queue_while_stopped": True}}
        bulk_id = str(call("POST", f"{empty.url}{API}/services", config)["service_id"])
        found: dict[str, Any] = {}
        with Beside(served, model, per_s=plan.beside_per_s) as beside:
            time.sleep(plan.rest_s)
        found["at_rest"] = beside.report()
        with Watch([*empty.roots, *its_roots]) as watch, Beside(served, model, per_s=plan.beside_per_s) as beside:
            count = send(empty.port, f"{API}/services/{bulk_id}/tasks/batch", model, plan.jobs)
        if count != plan.jobs:
            raise SystemExit(f"{count} of {plan.jobs} lines were accepted.")
        found["in"] = watch.report(plan.jobs) | {"beside": beside.report()}
        url = environ.get("PENSTOCK_DATABASE_URL", f"sqlite:///{folder}/up/data/penstock.db")
        _finish_all(url, bulk_id)
        with Watch([*empty.roots, *its_roots]) as watch, Beside(served, model, per_s=plan.beside_per_s) as beside:
            size, count = fetch(empty.port, f"{API}/services/{bulk_id}/results")
        if count != plan.jobs:
            raise SystemExit(f"{count} of {plan.jobs} results came.")
        found["out"] = watch.report(plan.jobs) | {"beside": beside.report(), "mb": size / 1e6}
    return found


def send(port: int, path: str, model: Model, jobs: int) -> int:
    """Streams so many lines, and reads the ids while they come back; how many the server counted."""
    bodies = [body.strip().encode() + b"\n" for body in model.bodies]
    block = b"".join(bodies[number % len(bodies)] for number in range(BLOCK))
    piece = b"%x\r\n%s\r\n" % (len(block), block)
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    line.putrequest("POST", path)
    for name, value in (("Content-Type", LINES), ("Accept", LINES), ("Transfer-Encoding", "chunked")):
        line.putheader(name, value)
    line.endheaders()

    def pour() -> None:
        for _ in range(jobs // BLOCK):
            line.sock.sendall(piece)
        line.sock.sendall(b"0\r\n\r\n")

    pouring = threading.Thread(target=pour, daemon=True)
    pouring.start()
    end = b""
    answer = line.getresponse()
    while piece_back := answer.read1(262_144):
        end = (end + piece_back)[-4096:]
    pouring.join()
    line.close()
    told = json.loads(end.splitlines()[-1])
    if "count" not in told:
        raise SystemExit(f"The load ended early: {told}")
    return int(told["count"])


def fetch(port: int, path: str) -> tuple[int, int]:
    """Reads a whole download; its bytes and lines."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    line.request("GET", path)
    answer = line.getresponse()
    size = count = 0
    while piece := answer.read1(262_144):
        size += len(piece)
        count += piece.count(b"\n")
    line.close()
    return size, count


def _finish_all(url: str, service_id: str) -> None:
    """Gives every waiting task a result, as an engine would in minutes."""
    database = Database(url, StoreSettings(gate_timeout_s=60.0))
    ids = sa.text(
        "SELECT max(id) FROM "
        "(SELECT id FROM jobs WHERE service_id = :s AND state = 'pending' ORDER BY id LIMIT :n) AS w"
    )
    results = sa.text(
        "INSERT INTO results (job_id, body) SELECT id, CAST(:body AS "
        + ("BLOB" if database.is_sqlite else "bytea")
        + ") FROM jobs WHERE service_id = :s AND state = 'pending' AND id <= :last"
    )
    jobs = sa.text(
        "UPDATE jobs SET state = 'completed', attempt = 1, claimed_at = submitted_at, started_at = submitted_at, "
        "completed_at = submitted_at + 0.01, batch_size = 32, model_version = '1.0.0', worker = 'bench.0@host' "
        "WHERE service_id = :s AND state = 'pending' AND id <= :last"
    )
    while True:
        with database.write() as connection:
            last = connection.execute(ids, {"s": service_id, "n": FILL_ROWS}).scalar()
            if last is None:
                break
            connection.execute(results, {"s": service_id, "last": last, "body": RESULT.encode()})
            connection.execute(jobs, {"s": service_id, "last": last})
    database.close()


def show(report: dict[str, Any], console: Console) -> None:
    """One table of rates and memory, one of what single tasks felt."""
    tables.show_machine(report["machine"], console)
    rates = Table(title=f"{report['jobs']:,} lines through the front")
    felt = Table(title="Single tasks meanwhile, submitted to 202 and to done, ms")
    for name in ("", "per s", "CPU us a job", "API process before, MB", "at most, MB", "others"):
        rates.add_column(name, justify="right")
    for name in ("", "tasks", "202 p50", "p99", "done p50", "p99", "refused"):
        felt.add_column(name, justify="right")
    for kind, part in report["databases"].items():
        felt.add_row(*_felt(f"{kind}, at rest", part["at_rest"]))
        for what in ("in", "out"):
            one = part[what]
            costs = ", ".join(f"{role} {us:.1f}" for role, us in one["cpu_us_per_job"].items() if us >= 0.1)
            memory = [f"{one['api_rss_mb'][when]:.0f}" for when in ("before", "peak")]
            rates.add_row(f"{kind}, {what}", f"{one['per_s']:,.0f}", costs, *memory, f"{one['foreign_share']:.0%}")
            felt.add_row(*_felt(f"{kind}, {what}", one["beside"]))
    console.print(rates, felt)
    tables.show_figures(report["figures"], console)


def _felt(name: str, beside: dict[str, Any]) -> list[str]:
    told = [f"{beside[what][p]:.1f}" for what in ("submit_ms", "done_ms") for p in ("p50", "p99")]
    return [name, str(beside["tasks"]), *told, str(beside["refused"])]
