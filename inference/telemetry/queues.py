"""How many tasks wait and run, and how many came, as the sampler counts them."""

from collections import Counter
from collections.abc import Mapping

from inference.clock import monotonic_s
from inference.telemetry.ports import Flow

SHARE = 0.01
"""Counting may take this share of the time: with more than some 100,000 waiting tasks it is not done every second."""
EARLY_S = 0.5
SELDOM_S = 10.0
"""It is done so often in any case: a machine that was busy for a moment must not keep it back for long."""


class Queues:
    """`lengths`: waiting and running by service. `rates`: tasks that came, a second, since the count before."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._again_at = self._counted_at = float("-inf")
        self._ended: Counter[str] | None = None
        self._owed: Counter[str] = Counter()
        self.lengths: Mapping[str, tuple[int, int]] = {}
        self.rates: Mapping[str, float] = {}

    def count(self, ended: Counter[str]) -> Mapping[str, int]:
        """Counts again, if that is not too dear, and says how many came since the last time.

        `ended`: how many have ended in all. What came is what is there more than before, and what ended meanwhile. A
        task may be gone from the queue and not yet among those that ended: then fewer than none came, and the next
        count makes up for it.
        """
        began = monotonic_s()
        if began < self._again_at:
            return {}
        before, self.lengths = self.lengths, self._flow.queues()
        self._again_at = began + min(SELDOM_S, (monotonic_s() - began) / SHARE) - EARLY_S
        span_s, self._counted_at = began - self._counted_at, began
        last, self._ended = self._ended, ended.copy()
        if last is None:
            return {}
        came: dict[str, int] = {}
        for service_id in self.lengths.keys() | before.keys() | ended.keys():
            more = sum(self.lengths.get(service_id, (0, 0))) - sum(before.get(service_id, (0, 0)))
            count = more + ended[service_id] - last[service_id] + self._owed.pop(service_id, 0)
            if count < 0:
                self._owed[service_id] = count
            elif count:
                came[service_id] = count
        self.rates = {service_id: count / span_s for service_id, count in came.items()}
        return came
