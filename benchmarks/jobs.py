"""`bench jobs`: Penstock and the plain baseline in one run, with the same models, machine and generator."""

import functools
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmarks import machine, measure, models, systems
from benchmarks.models import Model
from benchmarks.processes import prefer
from benchmarks.systems import Running, Tuning

RATES = (50.0, 100.0, 200.0)
CANDIDATES = (
    Tuning(pool="prefork", concurrency=2, prefetch=4),
    Tuning(pool="prefork", concurrency=2, prefetch=32),
    Tuning(pool="prefork", concurrency=1, prefetch=4),
    Tuning(pool="threads", concurrency=2, prefetch=4),
    Tuning(pool="solo", concurrency=1, workers=2, prefetch=4),
    Tuning(pool="solo", concurrency=1, workers=2, prefetch=4, api_workers=2),
)
INSTANCES = (1, 2)
BEST_KNOWN_INSTANCES = {"tiny": 1, "medium": 2}
BEST_KNOWN = Tuning(pool="solo", concurrency=1, workers=2, prefetch=4)
QUIET_SHARE = 0.05
Taken = TypeVar("Taken")
WANTED_RATIO = {"tiny": 3.8}
WANTED_PER_S = {"tiny": 3_300.0, "medium": 500.0}
WANTED_CPU_S = {"tiny": 0.6}
LATENCY_RATES = (50.0, 200.0)
WANTED_MS = {"p50": 3.0, "p99": 8.0}
QUICK_DISK_MS, WAITS = 0.2, 3
"""On a disk whose fdatasync takes longer, a job alone may take so many of them more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. `jobs`: per throughput run, by model; `environ`: settings that Penstock is given.

    `patience_s`: how long to wait for a quiet machine before each measurement, and to repeat a disturbed one.
    `instances`: engine processes of Penstock's service; 0 tries several, as the baseline's settings are tried.
    `is_preferred`: the systems measured and the generator go before everything else on the machine (needs root).
    """

    kinds: tuple[str, ...] = ("tiny", "medium")
    names: tuple[str, ...] = ("penstock", "baseline")
    rounds: int = 3
    jobs: dict[str, int] = field(default_factory=lambda: {"tiny": 12_000, "medium": 3_000})
    seconds: float = 10.0
    is_swept: bool = True
    instances: int = 0
    environ: dict[str, str] = field(default_factory=dict)
    patience_s: float = 0.0
    is_preferred: bool = False


def quick(plan: Plan) -> dict[str, Any]:
    """What `--quick` changes: one round, a sixth of the jobs, 4 s a rate, no sweep."""
    return {"rounds": 1, "jobs": {"tiny": 2_000, "medium": 500}, "seconds": min(plan.seconds, 4.0), "is_swept": False}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(plan: Plan) -> dict[str, Any]:
    """Everything, in minutes. The report is plain data, ready for JSON."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "jobs", "machine": machine.describe(folder), "models": {}}
        made = {kind: models.make(kind, folder) for kind in plan.kinds}
        first = next(iter(made.values()))
        report["generator"] = measure.generator_limit(first, folder, seconds=3.0 if plan.rounds > 1 else 1.0)
        say(f"generator alone: {report['generator']['per_s']:,.0f} requests/s")
        for kind, model in made.items():
            report["models"][kind] = _model(plan, model, folder / kind)
    report["generator"]["times_fastest_submit"] = report["generator"]["per_s"] / _fastest_submit(report)
    report["figures"] = figures(report)
    return report


def _fastest_submit(report: dict[str, Any]) -> float:
    rates = [part["submit_per_s"] for model in report["models"].values() for part in model["systems"].values()]
    return max(rates, default=1.0)


def _model(plan: Plan, model: Model, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    part: dict[str, Any] = {"bare_rows_per_s": models.curve(model.path), "systems": {}}
    bare = ", ".join(f"{rate:,.0f} at {size}" for size, rate in part["bare_rows_per_s"].items())
    say(f"{model.kind}: bare session.run, rows/s by batch size: {bare}")
    opening, tried = _tuned(plan, model, folder)
    runs: dict[str, list[measure.Throughput]] = {name: [] for name in plan.names}
    for number in range(plan.rounds):
        for name in plan.names:
            machine.wait_until_quiet(plan.patience_s)
            with opening[name](folder / f"{name}-{number}") as running:
                runs[name].append(_throughput(running, model, folder, plan))
                if number == 0:
                    limit = runs[name][0].done_per_s
                    part["systems"][name] = _at_rates(running, model, folder, plan, limit=limit)
    for name, done in runs.items():
        part["systems"][name] |= _summary(done)
        part["systems"][name]["sweep"] = tried.get(name, {})
    part["ratios"] = _ratios(part["systems"])
    return part


Opener = Callable[[Path], AbstractContextManager[Running]]


def _tuned(plan: Plan, model: Model, folder: Path) -> tuple[dict[str, Opener], dict[str, dict[str, float]]]:
    """How to start each system with the settings that were fastest for this model, and what each setting did."""
    counts = (plan.instances,) if plan.instances else INSTANCES
    candidates: dict[str, dict[str, Opener]] = {
        "penstock": {f"{count} instances": _penstock(plan, model, count) for count in counts},
        "baseline": {str(tuning): _baseline(plan, model, tuning) for tuning in CANDIDATES},
    }
    count = plan.instances or BEST_KNOWN_INSTANCES[model.kind]
    best = {"penstock": _penstock(plan, model, count), "baseline": _baseline(plan, model, BEST_KNOWN)}
    tried: dict[str, dict[str, float]] = {}
    for name in plan.names if plan.is_swept else ():
        if len(candidates[name]) > 1:
            tried[name] = _sweep(plan, model, candidates[name], folder / f"sweep-{name}")
            best[name] = candidates[name][max(tried[name], key=lambda which: tried[name][which])]
    return best, tried


def _penstock(plan: Plan, model: Model, instances: int) -> Opener:
    @contextmanager
    def opened(folder: Path) -> Iterator[Running]:
        with systems.penstock(
            model, folder, instances=instances, environ=plan.environ, is_preferred=plan.is_preferred
        ) as running:
            yield _preferred(running, plan)

    return opened


def _baseline(plan: Plan, model: Model, tuning: Tuning) -> Opener:
    @contextmanager
    def opened(folder: Path) -> Iterator[Running]:
        with systems.baseline(model, tuning, folder) as running:
            yield _preferred(running, plan)

    return opened


def _preferred(running: Running, plan: Plan) -> Running:
    if plan.is_preferred:
        prefer([psutil.Process(), *running.roots])
    return running


def _sweep(plan: Plan, model: Model, candidates: dict[str, Opener], folder: Path) -> dict[str, float]:
    """Jobs a second with each of the settings, by a sixth of a full run."""
    folder.mkdir()
    tried = {}
    for number, (which, opened) in enumerate(candidates.items()):
        with opened(folder / str(number)) as running:
            tried[which] = measure.throughput(running, model, folder, jobs=plan.jobs[model.kind] // 6).done_per_s
        say(f"{model.kind}: {running.name} with {which}: {tried[which]:,.0f} jobs/s")
    return tried


def _throughput(running: Running, model: Model, folder: Path, plan: Plan) -> measure.Throughput:
    jobs = plan.jobs[model.kind]
    done = _undisturbed(
        plan, lambda: measure.throughput(running, model, folder, jobs=jobs), lambda one: one.foreign_share
    )
    say(
        f"{model.kind}: {running.name}: {done.done_per_s:,.0f} jobs/s done, {done.submit_per_s:,.0f}/s submitted, "
        f"{done.cpu_s_per_1000:.2f} CPU s per 1,000, batches of {done.batch_mean:.1f}, "
        f"{done.foreign_share:.0%} of the machine used by others"
    )
    return done


def _undisturbed(plan: Plan, take: Callable[[], Taken], foreign_share: Callable[[Taken], float]) -> Taken:
    """Measures when the machine is quiet, again while others disturbed it; the least disturbed of four tries."""
    tries: list[Taken] = []
    while not tries or (plan.patience_s and len(tries) < 4 and foreign_share(tries[-1]) > QUIET_SHARE):
        if not machine.wait_until_quiet(plan.patience_s) and plan.patience_s:
            say("the machine does not become quiet; measuring anyway")
        tries.append(take())
    return min(tries, key=foreign_share)


def _at_rates(running: Running, model: Model, folder: Path, plan: Plan, *, limit: float) -> dict[str, Any]:
    part: dict[str, Any] = {"settings": dict(running.settings), "facts": dict(running.facts), "rates": []}
    for rate in RATES:
        if rate > 0.8 * limit:
            part["rates"].append({"rate": rate, "skipped": f"above 80 % of its {limit:.0f} jobs/s"})
            continue
        ask = functools.partial(measure.at_rate, running, model, rate=rate, seconds=plan.seconds)
        disk = machine.fdatasync_ms(folder)
        seen = _undisturbed(plan, ask, lambda one: float(one["foreign_share"])) | {"fdatasync_ms": disk}
        part["rates"].append(seen)
        say(
            f"{model.kind}: {running.name} at {rate:.0f}/s: {seen['done_ms']} ms submit to done, "
            f"fdatasync {disk['p50']} ms, {seen['foreign_share']:.0%} of the machine used by others"
        )
    return part


def _summary(runs: list[measure.Throughput]) -> dict[str, Any]:
    """The middle run by throughput, and every run beside it."""
    middle = sorted(runs, key=lambda one: one.done_per_s)[len(runs) // 2]
    return {
        "done_per_s": middle.done_per_s,
        "submit_per_s": statistics.median(one.submit_per_s for one in runs),
        "cpu_s_per_1000": middle.cpu_s_per_1000,
        "batch_mean": middle.batch_mean,
        "batch_max": middle.batch_max,
        "is_complete": all(one.is_complete for one in runs),
        "runs": [asdict(one) for one in runs],
    }


def _ratios(parts: dict[str, Any]) -> dict[str, float]:
    """Penstock over baseline; for CPU less is better."""
    if set(parts) != {"penstock", "baseline"}:
        return {}
    ours, theirs = parts["penstock"], parts["baseline"]
    return {
        "done": ours["done_per_s"] / theirs["done_per_s"],
        "submit": ours["submit_per_s"] / theirs["submit_per_s"],
        "cpu": ours["cpu_s_per_1000"] / theirs["cpu_s_per_1000"],
    }


def figures(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures that this benchmark must reach, each beside what was measured."""
    rows = [_figure("generator over fastest submit", report["generator"]["times_fastest_submit"], ">=", 3.0)]
    for kind, part in report["models"].items():
        if "done" in part["ratios"] and kind in WANTED_RATIO:
            rows.append(_figure(f"{kind}: jobs/s over baseline", part["ratios"]["done"], ">=", WANTED_RATIO[kind]))
        if (ours := part["systems"].get("penstock")) is not None:
            rows += _own_figures(kind, ours)
        for name, system in part["systems"].items():
            others = max(run["foreign_share"] for run in system["runs"])
            rows.append(_figure(f"{kind}: {name}: others' share of the machine", others, "<=", QUIET_SHARE))
            rows.append(_figure(f"{kind}: {name}: share completed", _completed_share(system), ">=", 1.0))
    return rows


def _own_figures(kind: str, ours: dict[str, Any]) -> list[dict[str, Any]]:
    """Throughput and CPU at the full rate; latency of the tiny model, beside the disk that it was measured on."""
    rows = [_figure(f"{kind}: jobs/s submit to done", ours["done_per_s"], ">=", WANTED_PER_S[kind])]
    if kind in WANTED_CPU_S:
        rows.append(_figure(f"{kind}: CPU s per 1,000 jobs", ours["cpu_s_per_1000"], "<=", WANTED_CPU_S[kind]))
    for seen in ours["rates"] if kind == "tiny" else ():
        if seen["rate"] in LATENCY_RATES and "done_ms" in seen:
            disk_ms = seen["fdatasync_ms"]["p50"]
            for name, wanted in WANTED_MS.items():
                title = f"{kind}: {name} ms at {seen['rate']:.0f}/s (fdatasync {disk_ms:.2f} ms)"
                rows.append(_figure(title, seen["done_ms"][name], "<=", wanted + disk_allowance_ms(disk_ms)))
    return rows


def disk_allowance_ms(fdatasync_ms: float) -> float:
    """What is added to the wanted latencies: nothing on a quick disk, else some waits for it."""
    return WAITS * fdatasync_ms if fdatasync_ms > QUICK_DISK_MS else 0.0


def _completed_share(system: dict[str, Any]) -> float:
    jobs = sum(run["jobs"] for run in system["runs"])
    return float(sum(run["states"].get("completed", 0) for run in system["runs"]) / jobs)


def _figure(name: str, measured: float, sign: str, wanted: float) -> dict[str, Any]:
    is_reached = measured >= wanted if sign == ">=" else measured <= wanted
    return {"name": name, "measured": measured, "sign": sign, "wanted": wanted, "is_reached": is_reached}
