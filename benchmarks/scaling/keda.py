"""KEDA on the length of a Redis list, with the Horizontal Pod Autoscaler below it, written anew from their docs."""

import math
from collections import deque

from benchmarks.scaling.simulate import Fleet


class KedaList:
    """`listLength` 5, the default: waiting jobs over 5, rounded up, looked at every 15 s.

    A job that was taken is not in the list any more. Up by 100 % or 4 pods in 15 s, whichever is more, at once; down to
    the highest recommendation of the last 300 s; no change within a tolerance of 10 %. 1 to 100 pods: one is kept, so
    the polling interval (30 s) and the cooldown (300 s), which are about going to zero and back, have no part.

    Sources: keda.sh, "ScaledObject specification" and "Redis Lists"; kubernetes.io, "Horizontal Pod Autoscaling",
    "Algorithm details" and "Configurable scaling behavior, Default Behavior".
    """

    every_s = 15.0
    first = 1

    def __init__(self, *, length: int = 5, most: int = 100) -> None:
        self._length, self._most = length, most
        self._past: deque[int] = deque(maxlen=int(300 / self.every_s))

    def wanted(self, fleet: Fleet) -> int:
        """The HPA's number of replicas."""
        current = fleet.wanted
        usage = fleet.waiting / (self._length * current)
        advised = current if abs(usage - 1) <= 0.1 else math.ceil(fleet.waiting / self._length)
        advised = min(max(1, advised), self._most)
        self._past.append(advised)
        if advised >= current:
            return min(advised, max(2 * current, current + 4))
        return min(current, max(self._past))
