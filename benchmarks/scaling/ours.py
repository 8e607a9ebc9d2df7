"""Our own policies in the simulation: the code that the product runs, fed with what a service's tables would say."""

import dataclasses
import itertools

from benchmarks.scaling.simulate import Fleet
from inference.scaling.model import Limits, Memory, Policy, Signals, Unfinished

RECENT = 1_000
"""Jobs from which the work of one and its variation are taken."""
GAPS = 200
"""Arrivals within the last minute from which the variation of the gaps between them is taken."""
P95_EVERY_S = 15


class Ours:
    """A policy asked once a second.

    `before`: an earlier run of the same policy, which left its bursts and the work of its jobs, `later_s` ago. Nothing
    else is carried over, and nothing of the trace to come is known. Without it the policy starts from nothing.
    """

    every_s = 1.0

    def __init__(
        self, policy: Policy, limits: Limits, *, start_s: float, before: "Ours | None" = None, later_s: float = 86_400.0
    ) -> None:
        self._policy, self._limits, self._start_s = policy, limits, start_s
        self._clock_s = before._clock_s + later_s if before else 0.0
        self._work = list(before._work) if before else [(0.0, 0.0)]
        self._seen = 0
        self._p95_s: float | None = None
        self.memory = Memory(peaks=before.memory.peaks) if before else Memory()
        self.first = policy.decide(self._at_rest(), limits, self.memory)[0].wanted

    def wanted(self, fleet: Fleet) -> int:
        """What the policy decides on this moment's signals."""
        decision, self.memory = self._policy.decide(self.signals(fleet), self._limits, self.memory)
        return decision.wanted

    def signals(self, fleet: Fleet) -> Signals:
        """What our tables would say."""
        for job in fleet.ended[self._seen :]:
            total, squares = self._work[-1]
            work_s = fleet.trace.work_s[job]
            self._work.append((total + work_s, squares + work_s * work_s))
        self._seen = len(fleet.ended)
        if int(fleet.now_s) % P95_EVERY_S == 0:
            self._p95_s = _p95(fleet)
        first = min((job for _, job in fleet.busy), default=fleet.taken)
        oldest_s = fleet.now_s - fleet.trace.at_s[first] if fleet.ongoing else 0.0
        return dataclasses.replace(
            self._at_rest(),
            now_s=self._clock_s + fleet.now_s,
            unfinished=(Unfinished(priority=0, jobs=fleet.ongoing, oldest_s=oldest_s),),
            arrivals_5s=fleet.came(5.0),
            arrivals_15s=fleet.came(15.0),
            arrivals_60s=fleet.came(60.0),
            cv2_arrivals=_cv2_of_gaps(fleet),
            cpu_share=len(fleet.busy) / fleet.ready if fleet.ready else None,
            p95_s=self._p95_s,
            ready=fleet.ready,
            starting=len(fleet.starting),
        )

    def _at_rest(self) -> Signals:
        work_s, cv2 = _moments(self._work[max(0, len(self._work) - 1 - RECENT)], self._work[-1], len(self._work) - 1)
        return Signals(now_s=self._clock_s, start_s=self._start_s, work_s=work_s, service_s=work_s, cv2_work=cv2)


def _moments(before: tuple[float, float], after: tuple[float, float], count: int) -> tuple[float | None, float | None]:
    """Mean, and variance over the square of the mean, from sums and sums of squares; None without a value."""
    number = min(count, RECENT)
    if not number:
        return None, None
    mean = (after[0] - before[0]) / number
    return mean, (after[1] - before[1]) / number / mean**2 - 1


def _cv2_of_gaps(fleet: Fleet) -> float | None:
    came = min(fleet.came(60.0), GAPS)
    if came < 5:
        return None
    last = fleet.arrived - 1
    squares = fleet.trace.gap_squares[last] - fleet.trace.gap_squares[last - came + 1]
    mean = (fleet.trace.at_s[last] - fleet.trace.at_s[last - came + 1]) / (came - 1)
    return squares / (came - 1) / mean**2 - 1 if mean else None


def _p95(fleet: Fleet) -> float | None:
    """Of the jobs that ended within the last minute."""
    last = itertools.takewhile(lambda job: fleet.ended_s[job] > fleet.now_s - 60, reversed(fleet.ended))
    took = sorted(fleet.ended_s[job] - fleet.trace.at_s[job] for job in last)
    return took[int(0.95 * len(took))] if took else None
