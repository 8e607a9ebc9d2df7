"""`python -m tests.chaos.soak`: constant load for minutes; memory, files and threads of each role must not grow.

Prints one JSON line: megabytes a minute per role after the warm-up (the first quarter), how files and threads went,
and the checker's counts. Exit code 1 where memory grows by 1 MB/min or more, or something else is wrong.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.scenes_parts import WITHOUT_POISON
from tests.chaos.world import World
from tests.system import environ_of

EVERY_S = 5.0
WARM_UP_SHARE = 0.25
SLOPE_MB_PER_MIN = 1.0
FLAT = 3
"""By how many files or threads the last quarter's mean may be above the second quarter's: they come and go."""


def sample(world: World) -> dict[str, tuple[float, float, float]]:
    """By role: megabytes of its own (what is shared depends on who else runs), open files, threads; of all together."""
    found: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    engines = set(world.system.pids("engine"))
    for pid in [world.system.launcher_pid, *world.system.everything()]:
        try:
            process = psutil.Process(pid)
            role = "engine" if pid in engines else environ_of(pid).get("PENSTOCK_ROLE", "launcher")
            memory = process.memory_full_info().uss / 1e6
            found[role].append((memory, process.num_fds(), process.num_threads()))
        except (psutil.NoSuchProcess, OSError):
            continue
    return {role: tuple(sum(column) for column in zip(*rows, strict=True)) for role, rows in found.items()}  # type: ignore[misc]


def slope_per_min(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares through (seconds, value)."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 60 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def judged(samples: Sequence[tuple[float, Mapping[str, tuple[float, float, float]]]]) -> dict[str, Any]:
    """Slopes after the warm-up, and what grew."""
    warm = samples[int(len(samples) * WARM_UP_SHARE) :]
    roles = sorted(set.intersection(*(set(found) for _, found in warm)))
    third = max(1, len(warm) // 3)
    slopes, grown = {}, {}
    for role in roles:
        slopes[role] = round(slope_per_min([(at, found[role][0]) for at, found in warm]), 3)
        for index, what in ((1, "files"), (2, "threads")):
            values = [found[role][index] for _, found in warm]
            more = sum(values[-third:]) / third - sum(values[:third]) / third
            if more > FLAT:
                grown[f"{role} {what}"] = round(more, 1)
    memory = {role: [round(found[role][0], 1) for _, found in samples[:: max(1, len(samples) // 12)]] for role in roles}
    last = {role: [round(value, 1) for value in samples[-1][1][role]] for role in roles}
    return {"mb_per_min": slopes, "grown": grown, "mb_files_threads_at_end": last, "mb": memory}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-soak-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        world = World(folder=Path(name), kind=asked.database, seed=asked.seed)
        try:
            found = _soak(world, asked.minutes * 60)
        finally:
            world.close()
    print(json.dumps(found))
    return int(not found["ok"])


def _soak(world: World, seconds: float) -> dict[str, Any]:
    world.open()
    world.serve()
    clients = world.load(shares=WITHOUT_POISON)
    begun, samples = time.monotonic(), []
    while (at := time.monotonic() - begun) < seconds:
        samples.append((at, sample(world)))
        print(f"{at:5.0f} s: {clients.accepted()} accepted, {world.done()} done", file=sys.stderr, flush=True)
        time.sleep(EVERY_S)
    world.settle()
    world.feel("samples", len(samples), at_least=8)
    told, verdict = judged(samples), world.verdict()
    worst = max(told["mb_per_min"].values())
    is_flat = worst < SLOPE_MB_PER_MIN and not told["grown"]
    return (
        {"ok": verdict["ok"] and is_flat, "minutes": round(seconds / 60, 1), "worst_mb_per_min": worst}
        | told
        | {name: value for name, value in verdict.items() if name != "ok"}
    )


if __name__ == "__main__":
    sys.exit(main())
