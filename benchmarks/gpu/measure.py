"""`bench gpu`: one NVIDIA machine, unattended: the provider, batch curves, the whole system beside a bare loop, memory.

Every part stands alone: what fails or finds no time is noted in the report, and the rest is measured.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine, measure, models, start, systems
from benchmarks.gpu import card as cards
from benchmarks.gpu.card import Card, Watch
from benchmarks.models import Model
from benchmarks.processes import ROOT
from benchmarks.systems import API, Running, call

BUDGET_S = 420.0
"""With what ends after its end still under eight minutes."""
SIZES = (1, 2, 4, 8, 16, 32, 64)
WANTED_SHARE = 0.85
SECONDS_OF_JOBS, MOST_JOBS, LEAST_JOBS = 10.0, 20_000, 64
MODELS = {"cuda": ("tiny", "medium", "large"), "cpu": ("tiny", "medium", "large-cut")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`seconds`: of each point of a curve. `kinds` are those that also run through the whole system."""

    seconds: float = 1.0
    budget_s: float = BUDGET_S
    sizes: tuple[int, ...] = SIZES
    is_quick: bool = False
    replay: Path | None = None


QUICK: dict[str, Any] = {"seconds": 0.1, "budget_s": 60.0, "sizes": (1, 8), "is_quick": True}


@dataclass(slots=True, kw_only=True)
class Run:
    """What is known so far. `report` is plain data."""

    plan: Plan
    folder: Path
    card: Card | None
    provider: str
    environ: dict[str, str]
    report: dict[str, Any]
    ends_at: float
    readings: list[cards.Reading] = field(default_factory=list)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        self.report["notes"].append(text)

    @contextmanager
    def part(self, name: str, *, needs_s: float = 0.0) -> Iterator[bool]:
        """Yields whether there is time for what needs so much. A failure is noted, and ends this part alone."""
        begun = time.monotonic()
        has_time = not needs_s or self.ends_at - begun >= needs_s
        if not has_time:
            self.note(f"{name}: left out, {max(0.0, self.ends_at - begun):.0f} s were left.")
        try:
            yield has_time
        except (Exception, SystemExit) as error:  # what is measured so far is worth more than a trace
            self.note(f"{name}: failed: {str(error)[:1500]}")
        print(f"{name}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)


def run(plan: Plan) -> dict[str, Any]:
    """Everything that there is time for. Without a usable GPU the same is measured on the CPU, and `notes` says so."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        card, why_none = cards.find(os.environ.get("CUDA_VISIBLE_DEVICES"), plan.replay)
        has_card = card is not None and card.source == cards.NVML
        report: dict[str, Any] = {"benchmark": "gpu", "machine": machine.describe(folder), "notes": [], "figures": []}
        state = Run(
            plan=plan,
            folder=folder,
            card=card,
            provider="cuda" if has_card else "cpu",
            environ=library_path() | ({"CUDA_VISIBLE_DEVICES": str(card.facts["uuid"])} if has_card else {}),
            report=report,
            ends_at=begun + plan.budget_s,
        )
        if why_none:
            state.note(why_none)
        report["card"] = {"source": card.source, "facts": card.facts} if card else None
        report["bare"], report["system"] = {}, {}
        report["memory_before_bytes"] = cards.settled_bytes(card)
        with state.part("provider"):
            report["provider"] = _provider(state)
        made = {}
        for kind in MODELS[state.provider]:
            with state.part(f"{kind}: model"):
                made[kind] = models.make(kind, folder)
        for kind, model in made.items():
            with state.part(f"{kind}: bare curve", needs_s=10.0) as has_time:
                if has_time:
                    report["bare"][kind] = _bare(state, model, seconds=plan.seconds, sizes=plan.sizes)
        with state.part("whole system", needs_s=15.0) as has_time:
            if has_time:
                _system(state, dict(list(made.items())[:1]) if plan.is_quick else made)
        report["figures"] = _figures(report)
        if card:
            report["card"]["readings"] = cards.thinned(state.readings or [card.read()])
    report["took_s"] = time.monotonic() - begun
    return report


def library_path() -> dict[str, str]:
    """What lets `onnxruntime.preload_dlls()` find PyTorch's CUDA libraries also where they lie in another folder of
    packages than ONNX Runtime: it looks beside itself, and then where the loader looks."""
    spec = importlib.util.find_spec("nvidia")
    folders = [
        str(folder)
        for root in (spec.submodule_search_locations or () if spec else ())
        for folder in sorted(Path(root).glob("*/lib"))
    ]
    known = os.environ.get("LD_LIBRARY_PATH", "")
    return {"LD_LIBRARY_PATH": os.pathsep.join([*folders, *filter(None, [known])])} if folders else {}


def _provider(state: Run) -> dict[str, Any]:
    """What is offered and what a session really gets; the provider of all that follows is the latter."""
    model = models.make("tiny", state.folder)
    found = _bare(state, model, seconds=0.05, sizes=(1,), provider="auto")
    if state.provider == "cuda" and found["got"] != "cuda":
        state.provider = "cpu"
        state.note(
            "There is a GPU, and ONNX Runtime fell back to the CPU: it is not the GPU build, or its CUDA libraries "
            "cannot be loaded. What follows is the CPU's. See benchmarks/README.md, 'What to install'. "
            f"It said: {' | '.join(found['said']) or 'nothing'}"
        )
    return found


def _bare(state: Run, model: Model, *, seconds: float, sizes: tuple[int, ...], provider: str = "") -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu.bare", str(model.path), provider or state.provider, str(seconds)]
    environ = os.environ | state.environ
    before = cards.settled_bytes(state.card)
    with Watch(state.card) as watch:
        done = subprocess.run(
            [*command, *map(str, sizes)], cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
            timeout=120 + 4 * seconds * len(sizes),
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the bare loop failed:\n{done.stderr[-1500:]}")
    *said, answer = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(answer)
    state.readings += watch.readings
    found |= {"card": watch.summary(), "memory_before_bytes": before, "said": [*said, *done.stderr.splitlines()][-12:]}
    if found["curve"]:
        found["best"] = max(found["curve"], key=lambda point: float(point["rows_per_s"]))
    return found


def _system(state: Run, made: dict[str, Model]) -> None:
    """One `up`; each model is loaded, put to work, and unloaded before the next."""
    begun = time.perf_counter()
    with systems.up(state.folder / "penstock", environ=state.environ) as running:
        state.report["up_s"] = time.perf_counter() - begun
        for kind, model in made.items():
            with state.part(f"{kind}: whole system", needs_s=30.0 if not state.plan.is_quick else 0.0) as has_time:
                if has_time:
                    state.report["system"][kind] = _through(state, running, model)


def _through(state: Run, running: Running, model: Model) -> dict[str, Any]:
    before = cards.settled_bytes(state.card)
    config = {"provider": state.provider}
    begun = time.perf_counter()
    model_id = systems.register(running.url, model)
    registered_s = time.perf_counter() - begun
    service_id, start_s = systems.create_and_start(running.url, model_id, config=config)
    serving = systems.serving(running, service_id)
    profile = call("GET", f"{running.url}{API}/services/{service_id}").get("profile") or {}
    systems.first_answer(serving, model)
    found: dict[str, Any] = {
        "register_s": registered_s,
        "start_s": start_s,
        "provider": profile.get("provider"),
        "max_batch": profile.get("max_batch"),
        "memory_before_bytes": before,
        "memory_loaded_bytes": cards.settled_bytes(state.card),
    }
    jobs = _jobs(state, model)
    with Watch(state.card) as watch:
        done = measure.throughput(serving, model, state.folder, jobs=jobs, deadline_s=60.0)
    state.readings += watch.readings
    found |= {"card": watch.summary(), "jobs": dataclasses.asdict(done)}
    if not state.plan.is_quick:
        found["restart_s"] = start.restart(serving)
    _stop(running, service_id)
    found["memory_after_bytes"] = cards.settled_bytes(state.card)
    return found


def _jobs(state: Run, model: Model) -> int:
    """As many as a bare loop does in some seconds; a twentieth of that for a first look."""
    best = state.report["bare"].get(model.kind, {}).get("best")
    rate = float(best["rows_per_s"]) if best else 100.0
    seconds = SECONDS_OF_JOBS / 20 if state.plan.is_quick else SECONDS_OF_JOBS
    return int(min(MOST_JOBS / (20 if state.plan.is_quick else 1), max(LEAST_JOBS, rate * seconds)))


def _stop(running: Running, service_id: str) -> None:
    service = f"{running.url}{API}/services/{service_id}"
    call("POST", f"{service}/stop", {})
    _until(lambda: call("GET", service)["status"] == "stopped")


def _until(is_true: Callable[[], bool], *, deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not is_true():
        if time.monotonic() > end:
            raise SystemExit(f"waited {deadline_s:.0f} s in vain")
        time.sleep(0.05)


def _figures(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The whole system against the best point of the bare loop in the same run."""
    figures = []
    for kind, system in report["system"].items():
        best = report["bare"].get(kind, {}).get("best")
        if kind == "tiny" or not best:
            continue
        share = system["jobs"]["done_per_s"] / best["rows_per_s"]
        figures.append(
            {
                "name": f"{kind}: jobs/s, share of the bare loop's best rows/s",
                "measured": share,
                "sign": ">=",
                "wanted": WANTED_SHARE,
                "is_reached": share >= WANTED_SHARE,
            }
        )
    return figures
