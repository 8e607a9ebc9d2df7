"""Synchronous predict: rate at 64 connections beside a bare batched loop, and latency at a fixed rate."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine, measure, models, systems
from benchmarks.processes import Meter
from benchmarks.systems import API, Running

CONNECTIONS = 64
RATE = 1_000.0
KINDS = ("tiny", "medium")


def run(kinds: tuple[str, ...] = KINDS, *, seconds: float = 10.0, rounds: int = 3) -> dict[str, Any]:
    """Closed loop for each model, open loop for tiny. The bare loop runs right before each model, on an idle system."""
    with tempfile.TemporaryDirectory(prefix="penstock-predict-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "predict", "machine": machine.describe(folder), "models": {}}
        for kind in kinds:
            model = models.make(kind, folder)
            bare = models.curve(model.path)
            with systems.penstock(model, folder / kind, instances=1, environ={}) as running:
                found = [_closed(running, model, seconds=seconds) for _ in range(rounds)]
                middle = sorted(found, key=lambda one: float(one["rate"]))[rounds // 2]
                figures = {"bare_rows_per_s": bare, "closed": middle, "rates": [one["rate"] for one in found]}
                figures["share_of_bare"] = median(figures["rates"]) / max(bare.values())
                if kind == "tiny":
                    figures["open"] = _open(running, model, seconds=seconds)
            report["models"][kind] = figures
        return report


def _order(running: Running, model: models.Model, *, seconds: float) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": running.port,
        "method": "POST",
        "path": f"{API}/services/{running.service_id}/predict",
        "bodies": list(model.bodies),
        "seconds": seconds,
        "expected": 200,
    }


def _closed(running: Running, model: models.Model, *, seconds: float) -> dict[str, Any]:
    before = Meter.read(running.roots)
    order = {"kind": "submit", "connections": CONNECTIONS}
    found = measure.order(_order(running, model, seconds=seconds) | order)
    after = Meter.read(running.roots)
    own_s = after.own_since(before)
    return found | {
        "cpu_s_per_1000": own_s / max(1, found["requests"]) * 1000,
        "foreign_share": after.foreign_share(before, own_s=own_s + found["generator_cpu_s"]),
    }


def _open(running: Running, model: models.Model, *, seconds: float) -> dict[str, Any]:
    order = {"kind": "arrive", "rate": RATE, "warm_s": 1.0, "seed": 7}
    before = Meter.read(running.roots)
    found = measure.order(_order(running, model, seconds=seconds + 1.0) | order)
    after = Meter.read(running.roots)
    own_s = after.own_since(before)
    return found | {
        "cpu_s_per_1000": own_s / (RATE * (seconds + 1.0)) * 1000,
        "foreign_share": after.foreign_share(before, own_s=own_s + found["generator_cpu_s"]),
    }


def show(report: dict[str, Any], console: Console) -> None:
    """The table of a report."""
    table = Table(title="Synchronous predict, 64 connections")
    for column in ("model", "predictions/s", "of a bare loop", "p50 ms", "p95 ms", "CPU s per 1,000", "others"):
        table.add_column(column, justify="right")
    for kind, figures in report["models"].items():
        closed = figures["closed"]
        table.add_row(
            kind,
            f"{closed['rate']:,.0f}",
            f"{figures['share_of_bare']:.0%}",
            *_ms(closed["answer_ms"]),
            f"{closed['cpu_s_per_1000']:.2f}",
            f"{closed['foreign_share']:.0%}",
        )
        if "open" in figures:
            at_rate = figures["open"]
            table.add_row(
                f"{kind}, open loop {RATE:,.0f}/s",
                f"{at_rate['done']:,} of {at_rate['jobs']:,}",
                "",
                *_ms(at_rate["done_ms"]),
                f"{at_rate['cpu_s_per_1000']:.2f}",
                f"{at_rate['foreign_share']:.0%}",
            )
    console.print(table)


def _ms(quantiles: dict[str, float]) -> tuple[str, str]:
    return f"{quantiles['p50']:.1f}", f"{quantiles['p95']:.1f}"
