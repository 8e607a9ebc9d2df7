"""`bench idle`: what the whole system uses when nobody asks anything of it, with one small service running."""

import contextlib
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine, models, systems
from benchmarks.processes import Meter, pss_bytes, tree

SETTLE_S = 5.0


def run(*, seconds: float) -> dict[str, Any]:
    """CPU share of one core over so many seconds of rest, and memory, by role and in all."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        report: dict[str, Any] = {"benchmark": "idle", "seconds": seconds, "machine": machine.describe(folder)}
        model = models.make("tiny", folder)
        with systems.penstock(model, folder / "penstock", instances=1, environ={}) as running:
            time.sleep(SETTLE_S)
            before = Meter.read(running.roots)
            time.sleep(seconds)
            after = Meter.read(running.roots)
            report["roles"] = _by_role(running.roots, before, after)
        span_s = after.at - before.at
        own_s = after.own_since(before)
        report["cpu_share_of_a_core"] = own_s / span_s
        report["foreign_share"] = after.foreign_share(before, own_s=own_s)
        report["pss_mb"] = sum(part["pss_mb"] for part in report["roles"].values())
    share, pss_mb = report["cpu_share_of_a_core"], report["pss_mb"]
    report["figures"] = [
        {"name": "share of a core, %", "measured": share * 100, "sign": "<", "wanted": 3.0, "is_reached": share < 0.03},
        {"name": "memory in all, MB", "measured": pss_mb, "sign": "<=", "wanted": 450, "is_reached": pss_mb <= 450},
    ]
    return report


def _by_role(roots: Any, before: Meter, after: Meter) -> dict[str, dict[str, float]]:
    """CPU and memory of the tree, summed by what the processes are for."""
    roles: dict[str, dict[str, float]] = defaultdict(lambda: {"processes": 0, "cpu_share": 0.0, "pss_mb": 0.0})
    for process in tree(roots):
        part = roles[role_of(process)]
        used = after.own.get(process.pid, 0.0) - before.own.get(process.pid, 0.0)
        part["processes"] += 1
        part["cpu_share"] += used / (after.at - before.at)
        part["pss_mb"] += pss_bytes(process) / 1e6
    return dict(sorted(roles.items()))


def role_of(process: psutil.Process) -> str:
    """The role in its environment; a process below a worker that loaded a model is an `engine`.

    What others are forked from is a `nursery`, whoever's it is.
    """
    with contextlib.suppress(psutil.Error):
        line = " ".join(process.cmdline())
        if "workers.launching.cradle" in line:
            return "nursery"
        role = process.environ().get("PENSTOCK_ROLE", "") or "launcher"
        parent = process.parent()
        if role == "worker" and parent and parent.environ().get("PENSTOCK_ROLE") == "worker":
            return "tracker" if "_tracker" in line else "engine"
        return role
    return "gone"
