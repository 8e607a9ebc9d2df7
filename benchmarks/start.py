"""`bench start`: from the start call to a ready service, from `kill -9` of an engine or a worker to ready again, and
from one version of a model to the next."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine, models, systems
from benchmarks.idle import role_of
from benchmarks.percentiles import median
from benchmarks.processes import is_alive, tree
from benchmarks.switch import switch
from benchmarks.systems import API, Running, call

WANTED = {
    "start_s": 5.0,
    "engine_kill_s": 5.0,
    "worker_kill_s": 20.0,
    "switch_tiny_s": 2.0,
    "switch_medium_s": 2.0,
}


def run(*, rounds: int) -> dict[str, Any]:
    """Each of them so many times on one running system; the middle value is what counts."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "start", "machine": machine.describe(folder)}
        model = models.make("tiny", folder)
        begun = time.perf_counter()
        with systems.penstock(model, folder / "penstock", instances=1, environ={}) as running:
            report["up_to_first_answer_s"] = time.perf_counter() - begun
            seen = {"start_s": [float(running.facts["start_s"]), *(restart(running) for _ in range(rounds - 1))]}
            seen["engine_kill_s"] = [_kill(running, model, "engine") for _ in range(rounds)]
            seen["worker_kill_s"] = [_kill(running, model, "worker") for _ in range(rounds)]
            versions = [f"1.0.{number + 1}" for number in range(rounds)]
            seen["switch_tiny_s"] = [switch(running, model, version=one) for one in versions]
            call("POST", f"{running.url}{API}/services/{running.service_id}/stop", {})
            medium = models.make("medium", folder)
            service_id, _ = systems.create_and_start(running.url, systems.register(running.url, medium))
            other = systems.serving(running, service_id)
            seen["switch_medium_s"] = [switch(other, medium, version=one) for one in versions]
    report["seen"] = seen
    report["figures"] = [
        {"name": name, "measured": median(values), "sign": "<", "wanted": wanted, "is_reached": median(values) < wanted}
        for name, wanted in WANTED.items()
        if (values := seen[name])
    ]
    return report


def restart(running: Running) -> float:
    """Stops the service, starts it again: seconds from the start call to a ready replica."""
    service = f"{running.url}{API}/services/{running.service_id}"
    call("POST", f"{service}/stop", {})
    _until(lambda: call("GET", service)["status"] == "stopped", deadline_s=30)
    begun = time.perf_counter()
    call("POST", f"{service}/start", {})
    systems.wait_ready(running.url, running.service_id, deadline_s=60)
    return time.perf_counter() - begun


def _kill(running: Running, model: models.Model, role: str) -> float:
    """`kill -9` of the one process of that role: seconds until a new one stands and a job came back from it."""
    (victim,) = _of_role(running, role)
    begun = time.perf_counter()
    victim.kill()
    _until(lambda: not is_alive(victim), deadline_s=5)
    _until(lambda: any(one.pid != victim.pid for one in _of_role(running, role)), deadline_s=60)
    systems.wait_ready(running.url, running.service_id, deadline_s=60)
    systems.first_answer(running, model, jobs=1)
    took_s = time.perf_counter() - begun
    time.sleep(2.0)
    return took_s


def _of_role(running: Running, role: str) -> list[psutil.Process]:
    return [process for process in tree(running.roots) if is_alive(process) and role_of(process) == role]


def _until(is_true: Callable[[], bool], *, deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    while not is_true():
        if time.monotonic() > end:
            raise SystemExit(f"Waited {deadline_s:.0f} s in vain.")
        time.sleep(0.01)
