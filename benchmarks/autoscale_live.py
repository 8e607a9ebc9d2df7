"""`bench autoscale --live`: real traffic, ten times as fast, through the whole system with a model that sleeps."""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine, tables
from benchmarks.processes import ROOT
from benchmarks.scaling import trace
from benchmarks.scaling.trace import Trace
from benchmarks.sleeping import PLUGIN
from benchmarks.systems import API, call, up, wait_ready

SPEED = 10.0
TURN_S = 0.05
LOOK_S = 0.25
LOAD_S = 1.0
MOST = 12
OBJECTIVE_S = 3.0
"""30 s at the trace's own speed; a job of the trace takes 0.9 s on average, 28.6 s at most."""
HOLD_DOWN_S = 30.0
BURST = 200
BURST_JOB_S = 0.1
PATIENCE_S = 180.0


@dataclass(slots=True)
class Seen:
    """What was there while somebody looked: `instance_s` is the integral of ready instances over time."""

    instance_s: float = 0.0
    most: int = 0


def run(path: Path | None = None, *, seconds: float = 120.0) -> dict[str, Any]:
    """Replays so many seconds (ten times as many of the trace), then a rest, a first answer, and a burst."""
    played = _cut(trace.read(path or trace.AZURE), seconds)
    environ = {"PENSTOCK_ENGINES__PLUGINS": PLUGIN, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, up(Path(name), environ=environ) as system:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "autoscale_live", "machine": machine.describe(folder)}
        live = _Live(system.url, folder)
        with live.watched() as seen:
            began = time.monotonic()
            ids = live.replay(played)
            live.wait_done(len(ids))
            took_s = time.monotonic() - began
        replay = {"jobs": len(ids), "seconds": round(took_s, 1), "instance_s": round(seen.instance_s, 1)}
        report["replay"] = replay | {"most_instances": seen.most, "attainment": live.attainment(OBJECTIVE_S)}
        report["fixed_instance_s"] = round(seen.most * took_s, 1)
        report["back_to_zero_s"] = live.until_gone()
        report["zero_to_first_answer_s"] = live.first_answer()
        report["burst_to_scaled_s"] = live.burst()
        report["killed"] = live.killed()
        report["decisions"] = live.decisions()
    report["settings"] = {"speed": SPEED, "objective_s": OBJECTIVE_S, "load_s": LOAD_S, "hold_down_s": HOLD_DOWN_S}
    report["figures"] = _figures(report)
    return report


def _cut(whole: Trace, seconds: float) -> Trace:
    part = whole.part(whole.name, 0.0, seconds * SPEED)
    return Trace(name=part.name, at_s=[at / SPEED for at in part.at_s], work_s=[w / SPEED for w in part.work_s])


class _Live:
    """One service of the sleeping model, that may rest, and what is done to it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._database = url, folder / "data" / "penstock.db"
        artefact = folder / "model.bin"
        artefact.write_bytes(b"sleeps")
        model = {
            "name": "sleeper",
            "version": "1.0.0",
            "framework": "sleeping",
            "model_path": str(artefact),
            "metadata": {},
            "accuracy_metrics": {},
            "deployment_config": {"engine": {"load_s": LOAD_S}},
        }
        model_id = call("POST", f"{url}/v1/models/register", model)["model_id"]
        scaling = {
            "enabled": True,
            "min_replicas": 0,
            "max_replicas": 1,
            "max_instances": MOST,
            "objective_s": OBJECTIVE_S,
            "hold_down_s": HOLD_DOWN_S,
        }
        config = {"max_batch": 1, "auto_scaling": scaling}
        made = call("POST", f"{url}{API}/services", {"model_id": model_id, "config": config})
        self._path = f"{url}{API}/services/{made['service_id']}"
        call("POST", f"{self._path}/start", {})
        wait_ready(url, made["service_id"], deadline_s=60)

    def replay(self, played: Trace) -> list[str]:
        """Every job at its time, to the turn; ids in order."""
        began, ids, sent = time.monotonic(), list[str](), 0
        while sent < len(played.at_s):
            due = played.before(time.monotonic() - began)
            if due > sent:
                ids += self._submit([played.work_s[number] for number in range(sent, due)])
                sent = due
            time.sleep(TURN_S)
        return ids

    def _submit(self, works: list[float]) -> list[str]:
        body = {"input_data_list": [{"seconds": [[work]]} for work in works]}
        return list(call("POST", f"{self._path}/tasks/batch", body)["task_ids"])

    def shown(self) -> dict[str, Any]:
        return call("GET", self._path)

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Looks at what is ready while the block runs."""
        seen, ended = Seen(), threading.Event()

        def look() -> None:
            before = time.monotonic()
            while not ended.wait(LOOK_S):
                ready, now = int(self.shown()["instances_ready"]), time.monotonic()
                seen.instance_s += ready * (now - before)
                seen.most, before = max(seen.most, ready), now

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join(5)

    def _rows(self, statement: str) -> list[Any]:
        database = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()

    def wait_done(self, count: int) -> None:
        """Returns when so many jobs have ended."""
        _until(lambda: self._rows("SELECT count(*) FROM jobs WHERE completed_at IS NOT NULL")[0][0] >= count, "done")

    def attainment(self, objective_s: float) -> float:
        """The share of jobs that were completed within the objective."""
        found = self._rows("SELECT state, completed_at - submitted_at FROM jobs")
        return round(sum(state == "completed" and took <= objective_s for state, took in found) / max(1, len(found)), 4)

    def killed(self) -> int:
        """Jobs that needed more than one attempt."""
        return int(self._rows("SELECT count(*) FROM jobs WHERE attempt > 1 OR crashes > 0")[0][0])

    def until_gone(self) -> float:
        """Seconds until no replica is left."""
        return _until(lambda: not self._rows("SELECT 1 FROM replicas"), "nothing left")

    def first_answer(self) -> float:
        """From the submission to a service that rests until its answer."""
        began = time.monotonic()
        (task,) = self._submit([0.01])
        call("GET", f"{self._url}{API}/tasks/{task}?wait=30")
        return round(time.monotonic() - began, 2)

    def burst(self) -> float:
        """From a burst until as many instances are ready as its backlog asks for."""
        self._submit([BURST_JOB_S] * BURST)
        return _until(lambda: int(self.shown()["instances_ready"]) >= self._wanted(), "the burst's instances")

    def _wanted(self) -> int:
        return min(MOST, int(BURST * BURST_JOB_S / OBJECTIVE_S))

    def decisions(self) -> list[str]:
        """Every reason, oldest first."""
        return [row[0] for row in self._rows("SELECT reason FROM scaling_decisions ORDER BY id")]


def _until(is_so: Any, what: str) -> float:
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit(f"{what}: not within {PATIENCE_S:.0f} s")
        time.sleep(0.05)
    return round(time.monotonic() - began, 2)


def _figures(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        _figure("jobs killed or run again", report["killed"], "<=", 0),
        _figure("zero to first answer, s", report["zero_to_first_answer_s"], "<", LOAD_S + 2),
        _figure("burst to scaled, s", report["burst_to_scaled_s"], "<", 5),
    ]


def _figure(name: str, measured: float, sign: str, wanted: float) -> dict[str, Any]:
    is_reached = measured < wanted or (sign == "<=" and measured == wanted)
    return {"name": name, "measured": measured, "sign": sign, "wanted": wanted, "is_reached": is_reached}


def show(report: dict[str, Any], console: Console) -> None:
    """The replay, and the three figures that must be reached."""
    tables.show_machine(report["machine"], console)
    replay = report["replay"]
    rows = {
        "jobs": f"{replay['jobs']:,} in {replay['seconds']:g} s, {SPEED:g} times as fast as they came",
        "attainment": f"{replay['attainment']:.2%} within {OBJECTIVE_S:g} s",
        "worker-seconds": f"{replay['instance_s']:g}; {replay['most_instances']} instances all the time: "
        f"{report['fixed_instance_s']:g}",
        "back to zero": f"{report['back_to_zero_s']:g} s after the last job (hold-down {HOLD_DOWN_S:g} s)",
        "zero to first answer": f"{report['zero_to_first_answer_s']:g} s, {LOAD_S:g} s of it the model's load",
        "burst to scaled": f"{report['burst_to_scaled_s']:g} s",
        "killed": f"{report['killed']} jobs",
        "decisions": str(len(report["decisions"])),
    }
    tables.show_rows("live replay", rows, console)
    tables.show_figures(report["figures"], console)
