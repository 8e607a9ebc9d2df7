"""`bench anomalies`: false alarms on real traffic in which nothing is wrong, and how soon what is wrong is found.

The trace has arrivals and tokens of a production LLM service for 57 minutes, and nothing of errors: latencies are
modelled from the tokens, as its README says, and errors are thrown with 0.5 %.
"""

import csv
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks import tables
from inference.telemetry.anomaly import Measure, Minute, Rules, anomalies
from inference.telemetry.percentiles import Sketch

TRACE = Path(__file__).parent / "data" / "azure_llm_2023_code.csv"
ERRORS = 0.005
DAYS = 30
BLOCK = 12
"""Steps that stay together when days are drawn from the trace, so that its bursts stay what they are."""
STEPS = ((10, 1), (30, 1), (30, 10))
"""Seconds that stand for a minute, and how many copies of the trace are laid upon one another, each turned by some
minutes: 10 make the traffic of a service with ten such users, 26 requests a second.
"""
INJECTED = 15
"""Steps that a fault lasts."""
DAY_STEPS = 1_440


@dataclass(frozen=True, slots=True)
class _Step:
    count: int
    latencies: tuple[float, ...]


def run(*, days: int = DAYS) -> dict[str, Any]:
    """False alarms by step and score, on the trace itself and on days drawn from it; and faults put in and found."""
    report: dict[str, Any] = {"benchmark": "anomalies", "days": days, "trace": [], "drawn": [], "faults": {}}
    for step_s, copies in STEPS:
        steps = _steps(step_s, copies)
        for score in (3.0, 4.0, 5.0):
            rules = Rules(score=score)
            found = anomalies(_minutes(steps, seed=1), since=0, until=len(steps) * 60, rules=rules)
            judged = len(steps) - rules.least - rules.gap
            report["trace"].append(
                {"step_s": step_s, "copies": copies, "score": score, "steps": judged, **_count(found)}
            )
            drawn = [_alarms(steps, rules, seed) for seed in range(days)]
            total = {name: sum(one[name] for one in drawn) for name in drawn[0]}
            report["drawn"].append(
                {"step_s": step_s, "copies": copies, "score": score, "steps": days * DAY_STEPS, **total}
            )
    for step_s, copies in STEPS:
        steps = _steps(step_s, copies)
        report["faults"][f"{step_s} s, {copies} x"] = {
            title: _found(steps, change, rounds=max(10, days)) for title, change in FAULTS.items()
        }
    return report


def _steps(step_s: int, copies: int) -> list[_Step]:
    """The trace in steps of so many seconds; its end is followed by its beginning."""
    with TRACE.open() as file:
        rows = list(csv.DictReader(file))
    first = _at(rows[0])
    found: dict[int, list[float]] = {}
    for row in rows:
        seconds = 0.10 + 0.0002 * int(row["ContextTokens"]) + 0.015 * int(row["GeneratedTokens"])
        found.setdefault(int((_at(row) - first) // step_s), []).append(seconds)
    alone, dice = [tuple(found.get(at, ())) for at in range(max(found))], random.Random(3)
    turns = [0, *(dice.randrange(len(alone)) for _ in range(copies - 1))]
    steps = []
    for at in range(len(alone)):
        latencies = sum((alone[(at + turn) % len(alone)] for turn in turns), ())
        steps.append(_Step(len(latencies), latencies))
    return steps


def _at(row: dict[str, str]) -> float:
    return datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()


def _minutes(steps: Sequence[_Step], *, seed: int) -> list[Minute]:
    """As if each step were a minute, since the detector counts minutes."""
    dice = random.Random(seed)
    return [_minute(at * 60, step, dice) for at, step in enumerate(steps)]


def _minute(at: int, step: _Step, dice: random.Random, *, ratio: float = ERRORS) -> Minute:
    if step.count < Rules().fewest:
        return Minute(at=at, count=step.count)
    sketch = Sketch()
    sketch.add(step.latencies)
    failed = sum(dice.random() < ratio for _ in range(step.count))
    return Minute(at=at, count=step.count, latency=sketch.quantile(0.95), error_ratio=failed / step.count)


def _drawn(steps: Sequence[_Step], count: int, dice: random.Random) -> Iterator[_Step]:
    """A longer history of the same kind: blocks of the trace in any order, with replacement."""
    left = count
    while left > 0:
        begin = dice.randrange(len(steps) - BLOCK)
        yield from steps[begin : begin + min(BLOCK, left)]
        left -= BLOCK


def _alarms(steps: Sequence[_Step], rules: Rules, seed: int) -> dict[str, int]:
    dice = random.Random(seed)
    history = list(_drawn(steps, DAY_STEPS + 70, dice))
    return _count(anomalies(_minutes(history, seed=seed), since=70 * 60, until=len(history) * 60, rules=rules))


def _count(found: Sequence[Any]) -> dict[str, int]:
    return {measure.value: sum(one.measure is measure for one in found) for measure in Measure}


Change = Callable[[_Step], tuple[_Step, float]]


def _times(factor: float) -> Change:
    def change(step: _Step) -> tuple[_Step, float]:
        count = round(step.count * factor)
        spread = (step.latencies * (1 + int(factor)))[:count]
        return _Step(count, spread), ERRORS

    return change


def _slower(factor: float) -> Change:
    return lambda step: (replace(step, latencies=tuple(factor * one for one in step.latencies)), ERRORS)


def _failing(ratio: float) -> Change:
    return lambda step: (step, ratio)


FAULTS: dict[str, Change] = {
    "rate x 5": _times(5),
    "rate / 10": _times(0.1),
    "nothing ends": _times(0),
    "latency x 3": _slower(3),
    "latency x 10": _slower(10),
    "10 % errors": _failing(0.1),
    "50 % errors": _failing(0.5),
}


def _found(steps: Sequence[_Step], change: Change, *, rounds: int) -> dict[str, float]:
    """Share of faults found while they last, and after how many minutes (the middle one)."""
    delays = []
    for seed in range(rounds):
        dice = random.Random(1_000 + seed)
        history = list(_drawn(steps, 300, dice))
        begin = 300 - INJECTED
        minutes = [_minute(at * 60, step, dice) for at, step in enumerate(history[:begin])]
        for at in range(begin, 300):
            step, ratio = change(history[at])
            minutes.append(_minute(at * 60, step, dice, ratio=ratio))
        for until in range(begin + 1, 301):
            if anomalies(minutes[:until], since=begin * 60, until=until * 60):
                delays.append(until - begin)
                break
    return {"found": len(delays) / rounds, "after_minutes": median(delays) if delays else float("nan")}


def show(report: dict[str, Any], console: Console) -> None:
    """False alarms by where and how sure, then faults."""
    for title in ("trace", "drawn"):
        rows = {}
        for one in report[title]:
            kind = f"{one['step_s']} s, {one['copies']} x, score {one['score']:g}"
            alarms = ", ".join(f"{one[measure.value]} {measure.value}" for measure in Measure)
            rows[kind] = f"{alarms}, of {one['steps']} steps"
        tables.show_rows(f"false alarms, {title}", rows, console)
    for kind, faults in report["faults"].items():
        rows = {
            title: f"{100 * one['found']:.0f} % found, after {one['after_minutes']:g} min"
            for title, one in faults.items()
        }
        tables.show_rows(f"faults of 15 minutes, {kind}", rows, console)
