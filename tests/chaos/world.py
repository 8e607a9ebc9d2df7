"""One scenario's world: a whole real system of its own, its load, what was felt of the fault, and the verdict."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from inference.store.database import Database
from tests.chaos import reading, trace
from tests.chaos.beside import Beside
from tests.chaos.checker import judge
from tests.chaos.engine import Kind
from tests.chaos.history import History
from tests.chaos.load import EXPECTED, Clients, Log
from tests.services import Postgres, free_port, wait_for
from tests.system import System, environ_of, kill

ALMOST_DONE_S = 0.05
SERVICE = {"max_batch": 16, "max_attempts": 6, "timeout_s": 10}
ENGINE = {"call_ms": 12, "row_ms": 2}


class Skipped(Exception):
    """This machine cannot do it; the text says why."""


@dataclass(kw_only=True)
class World:
    """`scale`: 1 is the whole suite; less makes faults fewer and shorter, never none."""

    folder: Path
    kind: str
    seed: int
    scale: float = 1.0
    settings: Mapping[str, object] = field(default_factory=dict)
    felt: dict[str, tuple[float, float]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    system: System = field(init=False)
    clients: Clients | None = None
    slack_s: float = 1.0

    def __post_init__(self) -> None:
        self.postgres: Postgres | None = None
        self.effects, self.log = self.folder / "effects.jsonl", Log(self.folder / "client.jsonl")
        self.effects.touch()
        (self.folder / "marks").mkdir()
        self.service = ""
        self.beside: list[Beside] = []
        self.at_close: list[Callable[[], object]] = []
        self.too_slow: dict[str, float] = {}

    # --- its life

    def open(self) -> None:
        """A running system that notes every move of every job."""
        settings: dict[str, object] = {"TELEMETRY__LOG_LEVEL": "info", **self.settings}
        if self.kind == "postgresql":
            self.postgres = Postgres(self.folder / "postgres")
            self.postgres.start()
            settings["DATABASE_URL"] = self.postgres.url
        self.system = System(self.folder, **settings)
        self.system.plugins["chaos"] = "tests.chaos.engine:Chaos"
        self.system.start()
        trace.install(self.system.db)

    def close(self) -> None:
        """Whatever is stopped goes on; nothing is left."""
        self.log.close()
        try:
            for process in self.beside:
                process.end()
            if hasattr(self, "system") and self.system.is_up():
                self.system.stop()
        finally:
            if self.postgres is not None:
                self.postgres.stop()

    def further(self, module: str, **environ: str) -> Beside:
        """One more process of the system, as if somebody had started it by hand."""
        self.beside.append(Beside(self.folder, environ_of(self.system.pids("control")[0]), module, environ))
        return self.beside[-1]

    def further_host(self, *, through: tuple[str, ...] = (), **environ: str) -> Beside:
        """A node agent with a data folder of its own; the models are the same."""
        data = self.folder / f"host-{len(self.beside)}"
        data.mkdir()
        (data / "blobs").symlink_to(self.system.data / "blobs")
        names = {"DATA_DIR": str(data), "NODE_ID": data.name, "WORKERS__METRICS_PORT": str(free_port())}
        plain = environ_of(self.system.pids("node")[0])
        self.beside.append(Beside(self.folder, plain, "workers.node", names | environ, through=through, data=data))
        known = lambda: self.system.rows("SELECT id FROM nodes WHERE id = :id", id=data.name)  # noqa: E731
        self.until(known, timeout_s=30, what="the other host")
        return self.beside[-1]

    def serve(self, *, engine: Mapping[str, Any] = ENGINE, **config: Any) -> str:
        """A running service with the chaos engine."""
        options = {"effects": str(self.effects), "marks": str(self.folder / "marks"), **engine}
        self.service = self.system.run("chaos", config={**SERVICE, **config}, timeout_s=60, **options)
        return self.service

    def load(self, **options: Any) -> Clients:
        """Clients that work from now on until `settle`; `options` are fields of theirs."""
        clients = self.client()
        for name, value in options.items():
            setattr(clients, name, value)
        clients.start()
        return clients

    def client(self) -> Clients:
        """The clients, at work or not yet."""
        if self.clients is None:
            self.clients = Clients(url=self.system.url, service_id=self.service, log=self.log, seed=self.seed)
        return self.clients

    # --- faults and figures

    def times(self, count: int) -> int:
        return max(1, round(count * self.scale))

    def lasting(self, seconds: float) -> float:
        return max(1.0, seconds * min(1.0, self.scale * 2))

    def feel(self, what: str, count: float, *, at_least: float = 1) -> None:
        """Notes the evidence that a fault was felt; with less than `at_least` of it the scenario has failed."""
        self.felt[what] = (count, at_least)

    def figure(self, name: str, value: float, *, target: float, at_most: float) -> None:
        """Prints a figure beside what it should be; the machine may be busy, so only far beyond that is a failure."""
        self.figures[name] = round(value, 2)
        self.figures.setdefault("targets", {})[name] = target
        if value > at_most:
            self.too_slow[name] = value

    def until(self, is_so: Callable[[], object], *, timeout_s: float, what: str) -> float:
        """How many seconds that took."""
        begun = time.monotonic()
        try:
            wait_for(is_so, timeout_s=timeout_s, what=what)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.system.logs()}") from late
        return time.monotonic() - begun

    def works(self, *, more: int = 5, timeout_s: float = 40.0) -> float:
        """Seconds until that many more jobs have ended."""
        before = self.done()
        return self.until(lambda: self.done() >= before + more, timeout_s=timeout_s, what="work goes on")

    def done(self) -> int:
        rows = self.system.rows("SELECT count(*) FROM attempts WHERE outcome = 'completed'")
        return int(rows[0][0])

    def first_end_after_s(self, at: float) -> float:
        """How long after this moment, in epoch seconds, the first job completed that had not been about to."""
        rows = self.system.rows(
            "SELECT min(completed_at) FROM jobs WHERE state = 'completed' AND completed_at > :at",
            at=at + ALMOST_DONE_S,
        )
        return float(rows[0][0]) - at if rows[0][0] is not None else float("inf")

    def outcomes(self) -> Counter[str]:
        return Counter(dict(self.system.rows("SELECT outcome, count(*) FROM attempts GROUP BY outcome")))

    def effect_pids(self) -> list[int]:
        """Of every job's run, the process that it was in."""
        return [int(one["pid"]) for one in reading.lines(self.effects)]

    def effect_values(self) -> list[float]:
        """Of every job's run, which job it was."""
        return [float(one["value"]) for one in reading.lines(self.effects)]

    def note_ticks(self) -> Callable[[], Mapping[str, list[float]]]:
        """From now on each turn at a duty is noted; the answer tells when they were, by duty."""
        database = self.system.db
        now, function = trace.NOW[database.is_sqlite], "chaos_ticks_note"
        note = f"INSERT INTO chaos_ticks (name, at) VALUES (NEW.name, {now});"
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE chaos_ticks (name TEXT, at DOUBLE PRECISION)")
            if database.is_sqlite:
                connection.exec_driver_sql(f"CREATE TRIGGER chaos_ticks AFTER UPDATE ON ticks BEGIN {note} END")
            else:
                connection.exec_driver_sql(
                    f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN {note} RETURN NULL; END $$"
                )
                connection.exec_driver_sql(
                    f"CREATE TRIGGER chaos_ticks AFTER UPDATE ON ticks FOR EACH ROW EXECUTE FUNCTION {function}()"
                )
        return self._ticks

    def _ticks(self) -> Mapping[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for name, at in self.system.rows("SELECT name, at FROM chaos_ticks ORDER BY at"):
            found[name].append(float(at))
        return found

    def kill(self, pids: list[int]) -> int:
        """How many of them lived."""
        return sum(kill(pid) for pid in pids)

    def submit_of(self, kinds: list[Kind], **fields: Any) -> list[str]:
        """One batch of these kinds, noted as a client's."""
        with httpx.Client(base_url=self.system.url, timeout=30) as http:
            return self.client().send(http, self.client().made(kinds, **fields))

    # --- the end

    def settle(self, *, timeout_s: float = 60.0) -> None:
        """The clients end, and every job does."""
        if self.clients is not None:
            self.clients.stop()
        try:
            self.system.until_done(self.service, timeout_s=timeout_s)
        except AssertionError as late:
            self.figures["stuck"] = str(late)[:2000]

    def verdict(self) -> dict[str, Any]:
        """What the checker says, what was felt, and whether that is good."""
        database: Database = self.system.db
        history = reading.read(
            database,
            client=self.log.path,
            effects=self.effects,
            slack_s=None if database.is_sqlite else self.slack_s,
        )
        found = judge(history)
        statuses = self.clients.statuses if self.clients else Counter()
        unexpected = {str(status): count for status, count in statuses.items() if status not in EXPECTED}
        twice = Counter(effect.value for effect in history.effects or ())
        plain = self.plain_verdict()
        return {
            **plain,
            "ok": plain["ok"] and not found["violations"] and not unexpected,
            "statuses": {str(status): count for status, count in sorted(statuses.items(), key=str)},
            "unexpected": unexpected,
            "said": self.clients.said if self.clients else [],
            "ran_again": sum(count > 1 for count in twice.values()),
            "innocents_dead": self._innocents_dead(history),
            **{name: value for name, value in found.items() if value not in ({}, [])},
        }

    def plain_verdict(self) -> dict[str, Any]:
        """Of what was felt and measured alone."""
        unfelt = [what for what, (count, at_least) in self.felt.items() if count < at_least]
        return {
            "ok": bool(self.felt) and not unfelt and not self.too_slow,
            "felt": {what: count for what, (count, _) in self.felt.items()},
            "unfelt": unfelt,
            "too_slow": self.too_slow,
            **self.figures,
        }

    def _innocents_dead(self, history: History) -> int:
        guilty = {
            task_id
            for line in history.lines("submit")
            for task_id, ends in zip(line.get("ids") or (), line.get("ends") or (), strict=False)
            if "dead" in ends
        }
        return sum(job.state == "dead" and job.id not in guilty for job in history.jobs)


def line(name: str, kind: str, seconds: float, found: Mapping[str, Any]) -> str:
    return json.dumps({"scenario": name, "database": kind, "seconds": round(seconds, 1), **found}, default=str)
