"""Knative's pod autoscaler (KPA), written anew from its documentation and the behaviour of its source."""

import math
from collections import deque

from benchmarks.scaling.simulate import Fleet


class KnativeKpa:
    """Concurrency over 0.7: `containerConcurrency` 1, as an instance takes one job at a time, at 70 % utilisation.

    Every 2 s: mean concurrency over the stable window (60 s) and the panic window (6 s), queue included, each divided
    by the target and rounded up. Panic from twice the ready pods on: then the larger counts and nothing goes down until
    60 s after the last cause. Down to half at most in one step. 1 to 100 pods: one is kept.

    Sources: knative.dev, "Configuring concurrency", "Additional autoscaling configuration for Knative Pod Autoscaler"
    (stable-window 60s, panic-window-percentage 10, panic-threshold-percentage 200, max-scale-up-rate 1000,
    max-scale-down-rate 2, target utilisation 70 %); knative/serving, pkg/autoscaler/scaling/autoscaler.go.
    """

    every_s = 2.0
    first = 1

    def __init__(self, *, target: float = 0.7, most: int = 100) -> None:
        self._target, self._most = target, most
        self._past: deque[tuple[float, float]] = deque([(0.0, 0.0)], maxlen=31)
        self._panic_s: float | None = None
        self._panic_pods = 0

    def wanted(self, fleet: Fleet) -> int:
        """The desired scale."""
        if fleet.now_s > self._past[-1][0]:
            self._past.append((fleet.now_s, fleet.ongoing_s))
        ready = max(1, fleet.ready)
        stable, panic = (math.ceil(self._mean(ticks) / self._target) for ticks in (30, 3))
        if panic / ready >= 2:
            self._panic_s = fleet.now_s
        elif self._panic_s is not None and self._panic_s + 60 < fleet.now_s:
            self._panic_s, self._panic_pods = None, 0
        low, high = ready // 2, 1000 * ready
        pods = min(max(stable, low), high)
        if self._panic_s is not None:
            self._panic_pods = pods = max(self._panic_pods, pods, min(max(panic, low), high))
        return min(max(1, pods), self._most)

    def _mean(self, ticks: int) -> float:
        past = self._past[max(0, len(self._past) - 1 - ticks)]
        last = self._past[-1]
        return (last[1] - past[1]) / (last[0] - past[0]) if last[0] > past[0] else 0.0
