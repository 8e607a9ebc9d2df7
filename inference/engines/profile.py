"""Measures how long batches take, and chooses how large they may be."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np

from inference.clock import held_up_s, monotonic_s
from inference.engines.base import Engine
from inference.errors import OutOfMemory
from inference.tensors import Tensors

Curve = tuple[tuple[int, float, float], ...]
"""(rows, median_ms, p99_ms) for each bucket, smallest first."""

KNEE_SHARE = 0.10
FLAT_SHARE, LONG_MS = 0.05, 50.0
"""A doubling that gains less is flat: two in a row end the curve, and one where calls take that long."""
MOST_CALLS, LEAST_CALLS = 20, 2
ENOUGH_CALLS, ENOUGH_S = 3, 0.05
"""A bucket of so many calls that took so long is known well enough: whoever starts a service waits for the curve."""


def buckets(max_batch: int) -> tuple[int, ...]:
    """1, 2, 4 ... up to `max_batch`, which is itself the last one."""
    powers = [1 << n for n in range(max_batch.bit_length())]
    return tuple(sorted({*powers, max_batch}))


def measure(
    engine: Engine,
    sample: Tensors,
    *,
    max_batch: int = 64,
    budget_s: float = 3.0,
    clock: Callable[[], float] = monotonic_s,
    held_up: Callable[[], float] = held_up_s,
) -> Curve:
    """The batch curve, from real calls. Warms the engine up on the way.

    `held_up`: grows by the time that others took from this thread. It is left out of what a call took, or the batch
    size would hang on who else was busy while the model was loaded; an engine of several threads is still slowed down.

    `sample`: engine inputs with at least one row; its first row is repeated. Ends before a bucket that would
    not fit into what is left of `budget_s`, before one that runs out of memory, and where doubling gains next to
    nothing any more; the first is always measured.
    """
    fixed = getattr(engine, "fixed_rows", None)
    sizes = (fixed,) if fixed else buckets(max_batch)
    curve: list[tuple[int, float, float]] = []
    began = clock()
    for position, rows in enumerate(sizes):
        left_s = budget_s - (clock() - began)
        if curve and left_s < (LEAST_CALLS + 1) * 2 * curve[-1][1] / 1000:
            break
        if _is_flat(curve):
            break
        batch = {name: np.repeat(array[:1], rows, axis=0) for name, array in sample.items()}
        try:
            times_ms = _time(partial(engine.run, batch), left_s / (len(sizes) - position), clock, held_up)
        except OutOfMemory:
            if not curve:
                raise
            break
        curve.append((rows, median(times_ms), _p99(times_ms)))
    return tuple(curve)


def _is_flat(curve: Sequence[tuple[int, float, float]]) -> bool:
    doublings = 1 if curve and curve[-1][1] >= LONG_MS else 2
    if len(curve) <= doublings:
        return False
    return max(_rate(point) for point in curve[-doublings:]) < (1 + FLAT_SHARE) * _rate(curve[-doublings - 1])


def choose(curve: Curve, *, objective_ms: float, max_batch: int = 64) -> int:
    """How many rows a batch may have: the largest bucket whose p99 is under half the objective, but never beyond
    the knee, the first bucket within 10 % of the best rate. The smallest bucket where none is fast enough.
    """
    usable = [point for point in curve if point[0] <= max_batch] or list(curve[:1])
    if not usable:
        return 1
    best = max(_rate(point) for point in usable)
    knee = next(point[0] for point in usable if _rate(point) >= (1 - KNEE_SHARE) * best)
    fast = [rows for rows, _, p99_ms in usable if p99_ms < objective_ms / 2]
    return min(knee, max(fast, default=usable[0][0]))


def _rate(point: tuple[int, float, float]) -> float:
    rows, median_ms, _ = point
    return rows / max(median_ms, 1e-6)


def _time(
    call: Callable[[], object], share_s: float, clock: Callable[[], float], held_up: Callable[[], float]
) -> list[float]:
    """Milliseconds of each call after one that does not count: at least 1, at most `MOST_CALLS`, `share_s` in all."""
    began = clock()
    call()
    times_ms: list[float] = []
    while len(times_ms) < MOST_CALLS and (not times_ms or clock() - began < share_s):
        if len(times_ms) >= ENOUGH_CALLS and sum(times_ms) >= ENOUGH_S * 1000:
            break
        waited, start = held_up(), clock()
        call()
        took = clock() - start
        waited = held_up() - waited
        times_ms.append((took - waited if waited < took else took) * 1000)
    return times_ms


def _p99(times_ms: Sequence[float]) -> float:
    return float(np.percentile(times_ms, 99))
