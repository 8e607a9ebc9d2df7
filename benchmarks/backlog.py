"""`bench backlog`: what a claim and a finish cost with few and many jobs waiting, in backoff, or done."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import fill, machine, servers, tables
from benchmarks.percentiles import median
from inference.jobs.model import Claimant, ClaimedJob, JobState, Outcome
from inference.store.database import Database
from inference.store.jobs import SqlJobs

BATCH = 32
CLAIMS = 200
WITHIN = 2.0
FEW = 1_000
OPEN_S = 60.0
RESULT = b'{"y":[[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`many`: jobs waiting, and jobs churned. `open_s`: how long the reader stays open at least."""

    many: int = 1_000_000
    delayed: int = 100_000
    spread: int = 100_000
    services: int = 1_000
    claims: int = CLAIMS
    open_s: float = OPEN_S
    databases: Sequence[str] = servers.NAMES


def run(plan: Plan) -> dict[str, Any]:
    """The costs of each state of the tables, on each database, and how they compare with 1,000 jobs waiting."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        report: dict[str, Any] = {"benchmark": "backlog", "machine": machine.describe(folder), "many": plan.many}
        report["batch"], report["claims"] = BATCH, plan.claims
        report["databases"] = {}
        for kind in plan.databases:
            with servers.database(kind, folder / kind) as db:
                report["databases"][kind] = _Bench(db, plan).run()
    report["figures"] = [
        figure
        for kind, states in report["databases"].items()
        for title, state in states.items()
        if "times" in state
        for figure in _figures(f"{kind}, {title}", state["times"])
    ]
    return report


def _figures(title: str, times: dict[str, float]) -> Iterator[dict[str, Any]]:
    """The wall time of a claim is what was promised; the CPU says the same on a machine that others use too."""
    for name in ("claim_ms", "claim_cpu_us"):
        unit = "CPU" if name.endswith("us") else "time"
        row = {"name": f"{title}: {unit} of a claim, times", "measured": times[name], "sign": "<=", "wanted": WITHIN}
        yield row | {"is_reached": times[name] <= WITHIN}


@dataclass(slots=True)
class _Spent:
    """One kind of call: seconds of each, and CPU seconds of this thread and of the database's processes."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


class _Bench:
    """One database, and the states that its tables go through."""

    def __init__(self, db: Database, plan: Plan) -> None:
        self._db, self._plan = db, plan
        self._store = SqlJobs(db)
        self._fill = fill.Filler(db)
        self._services, self._levels = 0, 10
        self._servers: list[psutil.Process] = []

    def run(self) -> dict[str, Any]:
        plan, states = self._plan, {}
        few = self._service()
        self._fill.add(FEW, service=int(few.service_id, 16))
        self._measure([few])  # the first round makes the plans and fills the caches
        base = states[f"{FEW:,} waiting"] = self._measure([few])
        for title, make in self._states().items():
            begun = time.perf_counter()
            claimants = make()
            made_s = time.perf_counter() - begun
            states[title] = self._measure(claimants) | {"made_s": round(made_s, 1)}
        with self._reader():
            begun = time.perf_counter()
            churned = self._service()
            self._fill.churn(plan.many, churned)
            self._levels = 1  # of one priority, so that what is dead lies before what lives
            self._fill.add(FEW, service=int(churned.service_id, 16), levels=1)
            time.sleep(max(0.0, plan.open_s - (time.perf_counter() - begun)))
            made_s = time.perf_counter() - begun
            states[f"{plan.many:,} churned, reader open"] = self._measure([churned]) | {"made_s": round(made_s, 1)}
        states["the same, reader gone"] = self._measure([churned])
        time.sleep(min(plan.open_s, 20.0))
        states["the same, 20 s later"] = self._measure([churned])
        for state in states.values():
            if state is not base:
                state["times"] = {name: round(state[name] / base[name], 2) for name in _MEASURES if base[name]}
        return states

    def _states(self) -> dict[str, Callable[[], list[Claimant]]]:
        plan = self._plan

        def delayed() -> list[Claimant]:
            by = self._service()
            number = int(by.service_id, 16)
            self._fill.add(plan.delayed, service=number, not_before=time.time() + 86_400)
            self._fill.add(FEW, service=number)
            return [by]

        def spread(services: int) -> list[Claimant]:
            found = [self._service() for _ in range(services)]
            self._fill.add(plan.spread, service=int(found[0].service_id, 16), services=services)
            return found[:10]

        def many() -> list[Claimant]:
            by = self._service()
            self._fill.add(plan.many, service=int(by.service_id, 16))
            return [by]

        return {
            f"{plan.delayed:,} in backoff": delayed,
            f"{plan.spread:,} in 10 services": lambda: spread(10),
            f"{plan.spread:,} in {plan.services:,} services": lambda: spread(plan.services),
            f"{plan.many:,} waiting": many,
        }

    def _service(self) -> Claimant:
        self._services += 1
        return fill.service(self._db, self._services)

    def _measure(self, claimants: Sequence[Claimant]) -> dict[str, float]:
        """So many claims in turn, then as many finishes that claim the next batch. New jobs keep the number up."""
        claims, finishes, both = _Spent(), _Spent(), _Spent()
        self._servers = servers.backends(self._db)
        for n in range(self._plan.claims):
            by = claimants[n % len(claimants)]
            held = self._timed(claims, lambda by=by: self._store.claim(by, max_rows=BATCH)).jobs
            ends = completed(held)
            self._timed(finishes, lambda by=by, ends=ends: self._store.finish(by, ends))
            self._refill(by, len(held))
        for by in claimants:
            held = self._store.claim(by, max_rows=BATCH).jobs
            for _ in range(self._plan.claims // len(claimants)):
                ends = completed(held)
                self._refill(by, len(held))
                _, claimed = self._timed(both, lambda by=by, e=ends: self._store.finish(by, e, max_rows=BATCH))
                held = claimed.jobs
            self._store.finish(by, completed(held))
            self._refill(by, len(held))
        sweeps = _Spent()
        for _ in range(5):
            self._timed(sweeps, self._sweep)
        return self._found(claims, finishes, both, sweeps)

    def _sweep(self) -> None:
        """What the control process asks of the jobs every second or so when nothing is to be done."""
        for ask in (self._store.promote, self._store.expire, self._store.reap, self._store.services_with_waiting):
            ask()

    def _found(self, claims: _Spent, finishes: _Spent, both: _Spent, sweeps: _Spent) -> dict[str, float]:
        found = {"sweep_ms": round(1000 * median(sweeps.seconds), 3)}
        for name, spent in {"claim": claims, "finish": finishes, "both": both}.items():
            found[f"{name}_ms"] = round(1000 * median(spent.seconds), 3)
            found[f"{name}_cpu_us"] = round(1e6 * median(spent.cpu) / BATCH, 2)
        print(f"{self._db.url.get_backend_name()}: {found}", file=sys.stderr)
        return found

    def _refill(self, by: Claimant, jobs: int) -> None:
        if jobs < BATCH:
            raise SystemExit(f"A claim found {jobs} jobs where {BATCH} and more were waiting.")
        self._fill.add(jobs, service=int(by.service_id, 16), levels=self._levels)

    def _timed(self, spent: _Spent, call: Callable[[], Any]) -> Any:
        before, cpu, begun = self._server_cpu_s(), time.thread_time(), time.perf_counter()
        answer = call()
        spent.seconds.append(time.perf_counter() - begun)
        spent.cpu.append(time.thread_time() - cpu + self._server_cpu_s() - before)
        return answer

    def _server_cpu_s(self) -> float:
        """To the nanosecond; `psutil` counts in hundredths of a second."""
        return sum(int(Path(f"/proc/{one.pid}/schedstat").read_text().split()[0]) for one in self._servers) / 1e9

    @contextmanager
    def _reader(self) -> Iterator[None]:
        """Another session that reads from one snapshot all the while, as a report or a backup would."""
        engine = sa.create_engine(self._db.url, connect_args={"check_same_thread": False} if self._db.is_sqlite else {})
        with engine.connect() as connection:
            if not self._db.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("SELECT count(*) FROM services")
            yield
            connection.rollback()
        engine.dispose()


_MEASURES = ("claim_ms", "claim_cpu_us", "finish_ms", "finish_cpu_us", "both_ms", "both_cpu_us")


def completed(jobs: Sequence[ClaimedJob]) -> list[Outcome]:
    """What `finish` is told of jobs whose engine has answered."""
    now = time.time()
    return [
        Outcome(job=job, state=JobState.COMPLETED, started_at=now, ended_at=now, batch_size=len(jobs), result=RESULT)
        for job in jobs
    ]


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, a table for each database, and whether a claim stays within twice its time."""
    tables.show_machine(report["machine"], console)
    for kind, states in report["databases"].items():
        table = Table(title=f"{kind}: batches of {report['batch']}, median of {report['claims']}; CPU us a job")
        for title in ("jobs", "claim ms", "CPU", "finish ms", "CPU", "both ms", "CPU", "sweep ms", "made in s"):
            table.add_column(title, justify="left" if title == "jobs" else "right")
        for title, state in states.items():
            cells = [f"{state[name]:.2f}" if name.endswith("ms") else f"{state[name]:.1f}" for name in _MEASURES]
            table.add_row(
                title, *cells, f"{state['sweep_ms']:.1f}", f"{state['made_s']:.0f}" if "made_s" in state else ""
            )
        console.print(table)
    tables.show_figures(report["figures"], console)
