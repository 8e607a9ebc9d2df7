"""`bench logs`: what an entry costs, and how long questions take where a million are kept."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine, servers, tables
from benchmarks.percentiles import quantile
from inference.logs import analyse, query
from inference.logs.model import Level, Question, Row, id_at, row
from inference.logs.ports import LogsPorts
from inference.settings import LogsSettings
from inference.store.database import Database
from inference.store.logs import SqlLogs

START = 1_795_000_000.0
SERVICES = 20
BATCH = 200
WITHIN_MS = 1_000.0
LEVELS = ("info",) * 90 + ("warning",) * 7 + ("error",) * 3
WORDS = ("load", "batch", "queue", "gradient", "memory", "device", "timeout", "cache", "tensor", "kernel", "socket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`asked`: how often each question is put."""

    rows: int = 1_000_000
    asked: int = 40
    databases: Sequence[str] = servers.NAMES


def run(plan: Plan) -> dict[str, Any]:
    """CPU of an entry, and milliseconds of questions, on both databases."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        report: dict[str, Any] = {"benchmark": "logs", "machine": machine.describe(folder), "rows": plan.rows}
        report["databases"] = {}
        for kind in plan.databases:
            with servers.database(kind, folder / kind) as db:
                report["databases"][kind] = _Bench(db, plan).run()
    report["figures"] = list(_figures(report))
    return report


def _figures(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind, part in report["databases"].items():
        worst = max(part["questions"], key=lambda name: part["questions"][name]["p95_ms"])
        slow = part["questions"][worst]["p95_ms"]
        yield {"name": f"{kind}: the slowest question ({worst}), p95 ms", "measured": slow, "sign": "<",
               "wanted": WITHIN_MS, "is_reached": slow < WITHIN_MS}  # fmt: skip


class _Bench:
    def __init__(self, db: Database, plan: Plan) -> None:
        self._db, self._plan = db, plan
        self._store = SqlLogs(db)
        self._ports = LogsPorts(store=self._store, deploys=self._store, settings=LogsSettings())
        self._dice = random.Random(7)
        self._step_s = 86_400.0 / plan.rows

    def run(self) -> dict[str, Any]:
        put = self._fill()
        if not self._db.is_sqlite:
            with self._db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE log_entries, log_counts")
        return {"put": put, "questions": {name: self._ask(ask) for name, ask in self._questions().items()}}

    def _fill(self) -> dict[str, float]:
        made_s = put_s = server_s = 0.0
        for first in range(0, self._plan.rows, BATCH):
            began = time.thread_time()
            rows = [self._row(number) for number in range(first, min(first + BATCH, self._plan.rows))]
            made = time.thread_time()
            before = self._server_s() if first % (50 * BATCH) == 0 else None
            self._store.put(rows)
            put_s += time.thread_time() - made
            made_s += made - began
            if before is not None:
                server_s += 50 * (self._server_s() - before)
        scale = 1e6 / self._plan.rows
        return {"row_us": made_s * scale, "put_us": put_s * scale, "server_us": server_s * scale}

    def _server_s(self) -> float:
        found = servers.backends(self._db)
        return sum(int(Path(f"/proc/{one.pid}/schedstat").read_text().split()[0]) for one in found) / 1e9

    def _row(self, number: int) -> Row:
        dice = self._dice
        level = dice.choice(LEVELS)
        fields: dict[str, Any] = {
            "event": "job_failed" if level == "error" else f"{dice.choice(WORDS)}_{dice.choice(WORDS)}",
            "level": level,
            "role": "engine",
            "pid": dice.randrange(40_000),
            "service_id": service(number % SERVICES),
            "reason": f"{' '.join(dice.choices(WORDS, k=8))} {dice.randrange(100_000)}",
        }
        if number % 5 == 0:
            fields["task_id"] = task(number)
        if number % 50_000 == 17:
            fields["reason"] += " hippopotamus"
        made = row(fields, tick=number)
        return replace(made, id=id_at(START + number * self._step_s) + number % 4096)

    def _questions(self) -> Mapping[str, Callable[[], object]]:
        dice, rows = self._dice, self._plan.rows

        def one() -> str:
            return service(dice.randrange(SERVICES))

        def find(**asked: Any) -> Callable[[], object]:
            return lambda: self._store.find(
                query.question(**{name: value() if callable(value) else value for name, value in asked.items()})
            )

        def since() -> float:
            return START + dice.random() * 80_000

        def number() -> str:
            return f"{dice.randrange(100_000)}"

        def ranged(level: str) -> Callable[[], object]:
            def ask() -> object:
                begin = since()
                return self._store.find(query.question(service_id=one(), level=level, since=begin, until=begin + 3_600))

            return ask

        return {
            "newest of a service": find(service_id=one),
            "errors of a service": find(service_id=one, level="error"),
            "errors of a service in an hour": ranged("error"),
            "all of a service in an hour": ranged("debug"),
            "errors of the system": find(service_id=None, level="error"),
            "critical of the system (none)": find(service_id=None, level="critical"),
            "critical of a service (none)": find(service_id=one, level="critical"),
            "a deep page": lambda: self._store.find(
                replace(Question(service_id=one()), before_id=id_at(START + dice.random() * 86_400))
            ),
            "a task": find(service_id=None, task_id=lambda: task(5 * dice.randrange(rows // 5))),
            "a frequent word": find(service_id=one, keyword=lambda: dice.choice(WORDS)),
            "a frequent word of the system": find(service_id=None, keyword=lambda: dice.choice(WORDS)),
            "a frequent phrase of the system": find(
                service_id=None, keyword=lambda: f'"{" ".join(dice.sample(WORDS, 2))}"'
            ),
            "two frequent words": find(service_id=one, keyword=lambda: " ".join(dice.sample(WORDS, 2))),
            "a phrase": find(service_id=one, keyword=lambda: f'"{" ".join(dice.sample(WORDS, 2))}"'),
            "a rare word": find(service_id=None, keyword="hippopotamus"),
            "a rare word of a service": find(service_id=one, keyword="hippopotamus"),
            "a number": find(service_id=one, keyword=number),
            "the first letters of a word": find(service_id=one, keyword="hippo"),
            "a word that is nowhere": find(service_id=one, keyword="rhinoceros"),
            "a frequent word in errors": find(service_id=one, level="error", keyword=lambda: dice.choice(WORDS)),
            "a frequent word, critical (none)": find(service_id=one, level="critical", keyword="gradient"),
            "a frequent word in an old hour": lambda: self._store.find(
                query.question(service_id=one(), keyword="gradient", since=START + 3_600, until=START + 7_200)
            ),
            "analysis of an hour of a service": lambda: self._analyse(one(), since(), 3_600.0),
            "analysis of a day of a service": lambda: self._analyse(one(), START, 86_400.0),
            "analysis of everything": lambda: self._analyse(None, START, 86_400.0),
        }

    def _analyse(self, service_id: str | None, begin: float, for_s: float) -> object:
        asked = Question(service_id=service_id, level=Level.DEBUG)
        return analyse.analyse(self._ports, asked, since=begin, until=begin + for_s)

    def _ask(self, ask: Callable[[], object]) -> dict[str, float]:
        times = []
        for _ in range(self._plan.asked):
            began = time.perf_counter()
            ask()
            times.append(1000 * (time.perf_counter() - began))
        times.sort()
        return {"p50_ms": round(quantile(times, 0.5), 1), "p95_ms": round(quantile(times, 0.95), 1)}


def service(number: int) -> str:
    return f"{number:032x}"


def task(number: int) -> str:
    return f"{number + (1 << 64):032x}"


def show(report: dict[str, Any], console: Console) -> None:
    """The machine, both databases side by side, and whether questions stay within a second."""
    tables.show_machine(report["machine"], console)
    kinds = list(report["databases"])
    table = Table(title=f"{report['rows']:,} entries: milliseconds, p50 / p95")
    for heading in ("question", *kinds):
        table.add_column(heading, justify="left" if heading == "question" else "right")
    for name in report["databases"][kinds[0]]["questions"]:
        found = [report["databases"][kind]["questions"][name] for kind in kinds]
        table.add_row(name, *(f"{one['p50_ms']:.1f} / {one['p95_ms']:.1f}" for one in found))
    puts = [report["databases"][kind]["put"] for kind in kinds]
    table.add_row(
        "an entry, us of CPU: made + put + server",
        *(f"{one['row_us']:.0f} + {one['put_us']:.0f} + {one['server_us']:.0f}" for one in puts),
    )
    console.print(table)
    tables.show_figures(report["figures"], console)
