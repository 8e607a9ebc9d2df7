"""`bench autoscale`: the product's scaling policies beside others, on real traffic, in a simulation."""

import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine, tables
from benchmarks.scaling import simulate, trace
from benchmarks.scaling.fixed import Fixed
from benchmarks.scaling.keda import KedaList
from benchmarks.scaling.knative import KnativeKpa
from benchmarks.scaling.ours import Ours
from benchmarks.scaling.ray import RayDefault
from benchmarks.scaling.sagemaker import SageMakerBacklog
from benchmarks.scaling.simulate import Scaler
from benchmarks.scaling.trace import Trace
from inference.scaling.model import Limits
from inference.scaling.policies import POLICIES

STARTS_S = (5.0, 10.0, 20.0, 60.0)
OBJECTIVES_S = (5.0, 10.0, 30.0, 60.0)
MOST = 100
PEAK_WINDOW_S = 10.0
SERVICES = 100
RIVALS: dict[str, Callable[[], Scaler]] = {
    "ray_default": RayDefault,
    "keda_list": KedaList,
    "knative_kpa": KnativeKpa,
    "sagemaker_backlog": SageMakerBacklog,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cold start, one objective."""

    start_s: float
    objective_s: float
    attainment: float
    worker_hours: float
    most: int
    killed: int
    scale_ins: int


def run(path: Path | None = None, *, is_quick: bool = False) -> dict[str, Any]:
    """Plays the trace through every policy, and halves of it and made-up traffic through some. 36 s of CPU."""
    whole = trace.read(path or trace.AZURE)
    report: dict[str, Any] = {"benchmark": "autoscale", "trace": _describe(whole)}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        report["machine"] = machine.describe(Path(folder))
    if is_quick:
        report["policies"], report["unlike"] = _all(whole), {}
    else:
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            every = pool.submit(_all, whole)
            some = {played.name: pool.submit(_some, played, before) for played, before in _unlike(whole)}
            report["policies"] = every.result()
            report["unlike"] = {name: part.result() for name, part in some.items()}
    report["ratios"] = _ratios(report["policies"])
    report["controller"] = _controller(whole)
    report["figures"] = _figures(report)
    return report


def _describe(played: Trace) -> dict[str, Any]:
    jobs, seconds = len(played.at_s), played.at_s[-1]
    return {
        "name": played.name,
        "jobs": jobs,
        "seconds": round(seconds, 1),
        "work_model": "0.10 + 0.0002 x context + 0.015 x generated tokens, in seconds of one instance",
        "mean_work_s": round(sum(played.work_s) / jobs, 3),
        "mean_load": round(sum(played.work_s) / seconds, 2),
        "peak_load": round(_peak(played), 2),
        "attainable": {f"{limit:g}": sum(each <= limit for each in played.work_s) / jobs for limit in OBJECTIVES_S},
    }


def _peak(played: Trace) -> float:
    """The busiest ten seconds, as instances kept busy by jobs of the mean length."""
    return played.busiest(PEAK_WINDOW_S) / PEAK_WINDOW_S * sum(played.work_s) / len(played.work_s)


def _unlike(whole: Trace) -> list[tuple[Trace, Trace]]:
    """Traffic that the policy's history is not made of, each with that history."""
    half_s = whole.at_s[-1] / 2
    first, second = whole.part("first half", 0, half_s), whole.part("second half", half_s, math.inf)
    per_s, seconds = len(whole.at_s) / whole.at_s[-1], whole.at_s[-1]
    steady = [trace.steady(per_s, seconds=seconds, work=whole.work_s, seed=seed) for seed in (2, 1)]
    square = [
        trace.square(0.2 * per_s, 1.8 * per_s, period_s=600, seconds=seconds, work=whole.work_s, seed=seed)
        for seed in (2, 1)
    ]
    return [(first, second), (second, first), (steady[0], steady[1]), (square[0], square[1])]


def _all(played: Trace) -> dict[str, Any]:
    """Every policy; ours with this trace as its history, as who sized a fleet for its peak knew it, and without."""
    parts = _ours("slo_drain", played, played)
    parts["thresholds"] = _ours("thresholds", played, played)["thresholds_no_history"]
    parts |= {name: _rival(make, played) for name, make in RIVALS.items()}
    peak, mean = math.ceil(_peak(played)), math.ceil(sum(played.work_s) / played.at_s[-1])
    parts["fixed_peak"] = _fixed(peak, played)
    parts |= _hindsight(played, 2 * peak)
    parts["fixed_twice_the_mean"] = _fixed(2 * mean, played)
    return parts


def _some(played: Trace, before: Trace) -> dict[str, Any]:
    parts = _ours("slo_drain", played, before)
    parts["ray_default"] = _rival(RayDefault, played)
    parts["fixed_peak"] = _fixed(math.ceil(_peak(played)), played)
    return {"jobs": len(played.at_s), "history": before.name, "policies": parts, "ratios": _ratios(parts)}


def _ours(name: str, played: Trace, before: Trace) -> dict[str, Any]:
    """The policy that has seen `before`, and the same policy that has seen nothing."""
    knowing, new = [], []
    for start_s in STARTS_S:
        for objective_s in OBJECTIVES_S:
            limits = Limits(min_instances=1, max_instances=MOST, objective_s=objective_s)
            scaler = Ours(POLICIES[name], limits, start_s=start_s)
            past = _play(before, scaler, start_s, (objective_s,))
            new += (
                past
                if before is played
                else _play(played, Ours(POLICIES[name], limits, start_s=start_s), start_s, (objective_s,))
            )
            scaler = Ours(POLICIES[name], limits, start_s=start_s, before=scaler)
            knowing += _play(played, scaler, start_s, (objective_s,))
    return {name: _sum_up(knowing), f"{name}_no_history": _sum_up(new)}


def _rival(make: Callable[[], Scaler], played: Trace) -> dict[str, Any]:
    """It knows no objective: one run serves all."""
    return _sum_up([cell for start_s in STARTS_S for cell in _play(played, make(), start_s, OBJECTIVES_S)])


def _fixed(size: int, played: Trace) -> dict[str, Any]:
    cells = _play(played, Fixed(first=size), 0.0, OBJECTIVES_S)
    return {"instances": size, **_sum_up(cells * len(STARTS_S))}


def _hindsight(played: Trace, most: int) -> dict[str, Any]:
    """The smallest fixed fleet that would have reached the attainment wanted, which only who knew the day could buy.

    Nothing where no fleet reaches it, because too many jobs are longer than the objective.
    """
    low, high = 1, most
    while low < high:
        size = (low + high) // 2
        low, high = (low, size) if _attains(_fixed(size, played)) else (size + 1, high)
    found = _fixed(low, played)
    return {"fixed_hindsight": found} if _attains(found) else {}


def _play(played: Trace, scaler: Scaler, start_s: float, objectives: Sequence[float]) -> list[Cell]:
    """Raises RuntimeError when a scale-in interrupted a job."""
    outcome = simulate.run(played, scaler, start_s=start_s, objectives=tuple(objectives))
    if outcome.killed:
        raise RuntimeError(f"{type(scaler).__name__}: a scale-in interrupted {outcome.killed} jobs")
    return [
        Cell(
            start_s=start_s,
            objective_s=limit,
            attainment=outcome.attained[limit],
            worker_hours=outcome.worker_hours,
            most=outcome.most,
            killed=outcome.killed,
            scale_ins=outcome.scale_ins,
        )
        for limit in objectives
    ]


def _sum_up(cells: Sequence[Cell]) -> dict[str, Any]:
    return {
        "attainment_mean": sum(cell.attainment for cell in cells) / len(cells),
        "attainment_worst": min(cell.attainment for cell in cells),
        "worker_hours": sum(cell.worker_hours for cell in cells) / len(cells),
        "killed": sum(cell.killed for cell in cells),
        "scale_ins": sum(cell.scale_ins for cell in cells),
        "cells": [
            {
                "start_s": cell.start_s,
                "objective_s": cell.objective_s,
                "attainment": round(cell.attainment, 5),
                "worker_hours": round(cell.worker_hours, 2),
                "most": cell.most,
            }
            for cell in cells
        ],
    }


def _attains(part: dict[str, Any]) -> bool:
    return part["attainment_mean"] >= 0.993 and part["attainment_worst"] >= 0.985


def _ratios(parts: dict[str, Any]) -> dict[str, float]:
    """Worker-hours of slo_drain over those of each other one."""
    ours = parts["slo_drain"]["worker_hours"]
    return {name: round(ours / part["worker_hours"], 3) for name, part in parts.items() if name != "slo_drain"}


def _controller(played: Trace) -> dict[str, float]:
    """CPU of one decision, on the signals of this trace, and of a hundred services decided once a second."""
    limits = Limits(min_instances=1, max_instances=MOST, objective_s=10.0)
    policy = POLICIES["slo_drain"]

    class Listening(Ours):
        """Keeps what it was shown."""

        def __init__(self) -> None:
            super().__init__(policy, limits, start_s=20.0)
            self.heard: list[Any] = []

        def signals(self, fleet: simulate.Fleet) -> Any:
            self.heard.append(super().signals(fleet))
            return self.heard[-1]

    scaler = Listening()
    simulate.run(played, scaler, start_s=20.0, objectives=(10.0,))
    memory, began = scaler.memory, time.thread_time()
    for signals in scaler.heard:
        _, memory = policy.decide(signals, limits, memory)
    each_s = (time.thread_time() - began) / len(scaler.heard)
    return {
        "decide_us": round(each_s * 1e6, 1),
        "services": SERVICES,
        "core_percent": round(each_s * SERVICES * 100, 3),
    }


def _figures(report: dict[str, Any]) -> list[dict[str, Any]]:
    ours, ratios = report["policies"]["slo_drain"], report["ratios"]
    killed = sum(part["killed"] for part in report["policies"].values())
    rows = [
        ("attainment, mean of the cells, %", ">=", 99.3, ours["attainment_mean"] * 100),
        ("attainment, worst cell, %", ">=", 98.5, ours["attainment_worst"] * 100),
        ("worker-hours over Ray's default", "<=", 0.6, ratios["ray_default"]),
        ("worker-hours over a fixed fleet for the peak", "<=", 0.6, ratios["fixed_peak"]),
        ("running jobs interrupted by a scale-in", "<=", 0, killed),
        (
            f"deciding for {SERVICES} services once a second, % of a core",
            "<=",
            1.0,
            report["controller"]["core_percent"],
        ),
    ]
    return [
        {
            "name": name,
            "sign": sign,
            "wanted": wanted,
            "measured": measured,
            "is_reached": measured >= wanted if sign == ">=" else measured <= wanted,
        }
        for name, sign, wanted, measured in rows
    ]


def show(report: dict[str, Any], console: Console) -> None:
    """Policies side by side, the cells of ours, traffic unlike its history, and the figures that must be reached."""
    tables.show_machine(report["machine"], console)
    played = report["trace"]
    console.print(
        f"{played['name']}: {played['jobs']:,} jobs in {played['seconds']:,.0f} s keep {played['mean_load']} instances "
        f"busy, {played['peak_load']} in the busiest 10 s. A job's work: {played['work_model']}. Jobs longer than the "
        f"objective cannot attain it: at 5 s no more than {played['attainable']['5']:.2%} can.",
        highlight=False,
    )
    console.print(_table("all cells: cold starts 5 to 60 s, objectives 5 to 60 s", report["policies"]))
    console.print(_cells(report["policies"]["slo_drain"]["cells"]))
    for name, part in report["unlike"].items():
        console.print(_table(f"{name}: {part['jobs']:,} jobs; history: {part['history']}", part["policies"]))
    tables.show_figures(report["figures"], console)


def _table(title: str, parts: dict[str, Any]) -> Table:
    table = Table(title=title)
    for column in ("", "mean", "worst cell", "worker-hours", "slo_drain is"):
        table.add_column(column, justify="right" if column else "left")
    ours = parts["slo_drain"]["worker_hours"]
    for name, part in parts.items():
        title = f"{name} ({part['instances']})" if "instances" in part else name
        shares = (f"{part['attainment_mean']:.2%}", f"{part['attainment_worst']:.2%}")
        table.add_row(title, *shares, f"{part['worker_hours']:.1f}", f"{ours / part['worker_hours']:.2f}x")
    return table


def _cells(cells: list[dict[str, Any]]) -> Table:
    table = Table(title="slo_drain: attainment and worker-hours")
    table.add_column("cold start")
    for objective_s in OBJECTIVES_S:
        table.add_column(f"objective {objective_s:g} s", justify="right")
    for start_s in STARTS_S:
        row = [cell for cell in cells if cell["start_s"] == start_s]
        table.add_row(f"{start_s:g} s", *(f"{cell['attainment']:.2%}, {cell['worker_hours']:.1f}" for cell in row))
    return table
