"""`bench sockets`: what a thousand WebSockets of live metrics cost their process, and how old figures are."""

import asyncio
import contextlib
import json
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import machine, models, systems, tables
from benchmarks.idle import role_of
from benchmarks.percentiles import quantile
from benchmarks.processes import pss_bytes, tree

SETTLE_S = 3.0
WANTED = ["latency", "throughput", "queue_length"]
OPENING = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    sockets: int = 1_000
    seconds: float = 20.0


def run(plan: Plan) -> dict[str, Any]:
    """CPU and memory of the live process: without sockets, with silent ones, and with a message a second for each."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "sockets", "sockets": plan.sockets, "machine": machine.describe(folder)}
        model = models.make("tiny", folder)
        with systems.penstock(model, folder / "penstock", instances=1, environ={}) as running:
            live = [process for process in tree(running.roots) if role_of(process) in ("live", "front")]
            time.sleep(SETTLE_S)
            report |= asyncio.run(_measure(plan, running.port, running.service_id, live))
    per_s = report["messages"] / report["seconds"]
    cpu = 100 * report["subscribed"]["live"]["cpu_share"]
    report["figures"] = [
        _figure("live process, MB", report["subscribed"]["live"]["pss_mb"], 150.0),
        _figure("live process, % of a core", cpu, 10.0),
        _figure("age of a figure, p95 s", report["age_s"]["p95"], 1.0),
    ]
    report["messages_per_s"] = per_s
    return report


def _figure(name: str, measured: float, wanted: float) -> dict[str, Any]:
    return {"name": name, "measured": measured, "sign": "<", "wanted": wanted, "is_reached": measured < wanted}


async def _measure(plan: Plan, port: int, service_id: str, live: list[psutil.Process]) -> dict[str, Any]:
    url = f"ws://127.0.0.1:{port}{systems.API}/services/{service_id}/monitor"
    ages: list[float] = []
    report: dict[str, Any] = {"none": await _watch(live, plan.seconds / 2)}
    async with contextlib.AsyncExitStack() as stack:
        opened: list[ClientConnection] = []
        while len(opened) < plan.sockets:
            some = min(OPENING, plan.sockets - len(opened))
            calls = [stack.enter_async_context(connect(url, compression=None)) for _ in range(some)]
            opened += [await call for call in calls]
        await asyncio.sleep(SETTLE_S)
        report["silent"] = await _watch(live, plan.seconds / 2)
        for socket in opened:
            await socket.send(json.dumps({"action": "subscribe", "metrics": WANTED}))
        listening = [asyncio.ensure_future(_listen(socket, ages)) for socket in opened]
        await asyncio.sleep(SETTLE_S)
        ages.clear()
        report["subscribed"] = await _watch(live, plan.seconds)
        report["messages"], report["seconds"] = len(ages), plan.seconds
        ordered = sorted(ages)
        report["age_s"] = {"p50": quantile(ordered, 0.5), "p95": quantile(ordered, 0.95), "most": ordered[-1]}
        for one in listening:
            one.cancel()
    return report


async def _listen(socket: ClientConnection, ages: list[float]) -> None:
    async for text in socket:
        now = time.time()
        said = json.loads(text)
        if said["type"] == "metrics":
            ages.append(now - datetime.fromisoformat(said["at"]).timestamp())


async def _watch(live: list[psutil.Process], seconds: float) -> dict[str, dict[str, float]]:
    """CPU share and memory of each role over so many seconds."""
    before = [sum(process.cpu_times()[:2]) for process in live]
    began = time.monotonic()
    await asyncio.sleep(seconds)
    span_s = time.monotonic() - began
    found: dict[str, dict[str, float]] = {}
    for process, used in zip(live, before, strict=True):
        part = found.setdefault(role_of(process), {"cpu_share": 0.0, "pss_mb": 0.0})
        part["cpu_share"] += (sum(process.cpu_times()[:2]) - used) / span_s
        part["pss_mb"] += pss_bytes(process) / 1e6
    return found


def show(report: dict[str, Any], console: Console) -> None:
    """A line for each state, and the figures."""
    tables.show_machine(report["machine"], console)
    rows = {
        f"{state}, {role}": f"{100 * part['cpu_share']:.1f} % of a core, {part['pss_mb']:.0f} MB"
        for state in ("none", "silent", "subscribed")
        for role, part in report[state].items()
    }
    rows["messages"] = f"{report['messages_per_s']:.0f} a second"
    rows["age of a figure, p50, p95, most"] = ", ".join(f"{value:.2f} s" for value in report["age_s"].values())
    tables.show_rows(f"{report['sockets']} sockets", rows, console)
    tables.show_figures(report["figures"], console)
