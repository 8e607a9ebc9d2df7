"""Ray Serve's default policy, written anew from its documentation and the behaviour of its source."""

import math
from collections import deque

from benchmarks.scaling.simulate import Fleet


class RayDefault:
    """`num_replicas="auto"`: 1 to 100 replicas, 2 ongoing requests each, up after 30 s, down after 600 s.

    The handles report every 10 s; the mean of ongoing requests over the look-back of 30 s, divided by the target, is
    what is desired, rounded up. The target moves when every decision of the whole delay pointed the same way, and then
    to what the last one desired. Ray decides ten times a second, this once, which is a second's difference at most.
    In its favour: one queue for all, where Ray picks one replica of two and lets up to 5 requests wait in it.

    Sources: docs.ray.io, "Ray Serve Autoscaling", "Advanced Ray Serve Autoscaling" and AutoscalingConfig (target 2
    since 2.32, look_back_period_s 30, metrics_interval_s 10, upscale_delay_s 30, downscale_delay_s 600, no smoothing);
    ray/serve/autoscaling_policy.py, replica_queue_length_autoscaling_policy.
    """

    every_s = 1.0
    first = 1

    def __init__(self, *, most: int = 100) -> None:
        self._most = most
        self._reports: deque[tuple[float, float]] = deque([(0.0, 0.0)], maxlen=4)
        self._desired = 1
        self._since = 0

    def wanted(self, fleet: Fleet) -> int:
        """The target number of replicas."""
        if fleet.now_s - self._reports[-1][0] >= 10.0:
            self._reports.append((fleet.now_s, fleet.ongoing_s))
            (from_s, before), (to_s, after) = self._reports[0], self._reports[-1]
            self._desired = min(max(1, math.ceil((after - before) / (to_s - from_s) / 2)), self._most)
        target, desired = fleet.wanted, self._desired
        if desired > target:
            self._since = max(self._since, 0) + 1
            due = self._since > 30
        elif desired < target:
            self._since = min(self._since, 0) - 1
            due = self._since < -600
        else:
            self._since, due = 0, False
        if due:
            self._since = 0
            return desired
        return target
