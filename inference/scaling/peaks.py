"""The largest bursts that came lately, and how many instances would have kept up with them."""

import math
from collections.abc import Sequence

from inference.scaling.model import Signals

Peaks = tuple[tuple[float, float, float], ...]
"""(window_s, jobs, at_s) for each window, as in `Memory.peaks`."""

DAY_S = 86_400.0
WINDOWS_S = (5.0, 15.0, 60.0)


def learn(peaks: Peaks, signals: Signals) -> Peaks:
    """The peaks with this moment in them: of each window the larger of what came now and what is remembered.

    A peak counts in full for a day, so that what comes once a day stays known, and half as much with each day after.
    """
    known = {window_s: (jobs, at_s) for window_s, jobs, at_s in peaks}
    now_s = signals.now_s
    learnt = []
    came = (signals.arrivals_5s, signals.arrivals_15s, signals.arrivals_60s)
    for window_s, jobs in zip(WINDOWS_S, came, strict=True):
        most, at_s = known.get(window_s, (0.0, now_s))
        is_new = jobs >= _counts(most, at_s, now_s)
        learnt.append((window_s, float(jobs), now_s) if is_new else (window_s, most, at_s))
    return tuple(learnt)


def of_times(times: Sequence[float]) -> Peaks:
    """The peaks of jobs that came at these times, epoch seconds; none of none."""
    ordered, found = sorted(times), []
    for window_s in WINDOWS_S if ordered else ():
        most, at_s, first = 0, 0.0, 0
        for last, until in enumerate(ordered):
            while ordered[first] <= until - window_s:
                first += 1
            if last - first + 1 > most:
                most, at_s = last - first + 1, until
        found.append((window_s, float(most), at_s))
    return tuple(found)


def keep_up(peaks: Peaks, *, now_s: float, work_s: float, patience_s: float) -> tuple[int, float, float]:
    """How many instances let no job of such a burst wait longer than `patience_s`; and that burst: window_s, jobs.

    Work W that comes within w seconds is gone patience_s after its end when W / n <= w + patience_s: the delay bound of
    network calculus, the greatest horizontal distance between an arrival curve and a service curve of n.
    Source: J.-Y. Le Boudec, P. Thiran, Network Calculus, 2001, section 1.4.
    """
    largest = (0, 0.0, 0.0)
    for window_s, jobs, at_s in peaks:
        counting = _counts(jobs, at_s, now_s)
        enough = math.ceil(counting * work_s / (window_s + patience_s) - 1e-9)
        largest = max(largest, (enough, window_s, counting))
    return largest


def _counts(jobs: float, at_s: float, now_s: float) -> float:
    days = (now_s - at_s) / DAY_S
    return jobs if days <= 1 else jobs * 0.5 ** (days - 1)
