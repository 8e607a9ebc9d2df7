"""SageMaker's asynchronous endpoints: target tracking of the backlog per instance, written anew from AWS's docs."""

import math
from collections import deque

from benchmarks.scaling.simulate import Fleet


class SageMakerBacklog:
    """ApproximateBacklogSizePerInstance at 5, scale-out cooldown 300 s, scale-in cooldown 600 s: the guide's example.

    One datapoint a minute. Out when the last 3 are above the target, in proportion; in when the last 15 are below 90 %
    of it. In its favour: a larger scale-out does not wait for the cooldown of a smaller one. 1 to 100 instances.

    Sources: docs.aws.amazon.com, SageMaker AI, "Autoscale an asynchronous endpoint"; Application Auto Scaling, "How
    target tracking scaling works" and the alarms that it makes (3 datapoints within 3 minutes, 15 within 15 minutes).
    """

    every_s = 60.0
    first = 1

    def __init__(self, *, target: float = 5.0, most: int = 100) -> None:
        self._target, self._most = target, most
        self._points: deque[float] = deque(maxlen=15)
        self._before = (0.0, 0.0)
        self._scaled_s = -math.inf
        self._largest = 0

    def wanted(self, fleet: Fleet) -> int:
        """The desired instance count."""
        (before_s, before), current = self._before, fleet.wanted
        if fleet.now_s <= before_s:
            return current
        backlog = (fleet.ongoing_s - before) / (fleet.now_s - before_s)
        self._before = (fleet.now_s, fleet.ongoing_s)
        self._points.append(backlog / max(1, fleet.ready))
        desired = min(max(1, math.ceil(backlog / self._target)), self._most)
        since_s = fleet.now_s - self._scaled_s
        points = list(self._points)
        if len(points) >= 3 and min(points[-3:]) > self._target and desired > current:
            if since_s >= 300 or desired > self._largest:
                self._scaled_s, self._largest = fleet.now_s, desired
                return desired
        elif len(points) == 15 and max(points) < 0.9 * self._target and desired < current and since_s >= 600:
            self._scaled_s, self._largest = fleet.now_s, 0
            return desired
        return current
