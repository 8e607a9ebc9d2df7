"""The work of the last seconds, by half seconds, as the sampler has read it."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import structlog

from inference.errors import HotUnavailable
from inference.telemetry.ports import SLOTS_PER_S, Figures, Flow
from inference.telemetry.sample import Work

log = structlog.get_logger(__name__)

LATER_SLOTS = 8
"""What is committed after its slot was read is found by counting so many slots again."""
KEPT_SLOTS = LATER_SLOTS + 2 * SLOTS_PER_S


class Slots:
    """All slots before `next` have been read. `ended`: tasks that have ended since the beginning, by service."""

    def __init__(self, flow: Flow, figures: Figures, *, first: int) -> None:
        self._flow = flow
        self._figures = figures
        self._works: dict[int, Mapping[str, Work]] = {}
        self._predicted: defaultdict[int, dict[str, Work]] = defaultdict(dict)
        self.first = self.next = first
        self.ended: Counter[str] = Counter()

    def read(self, until: int) -> None:
        """Reads what ended since the last call, and before `until`. Raises StoreUnavailable, and has then read none."""
        found = self._flow.ended(self.next, until)
        open_since = self.next - self.next % SLOTS_PER_S
        for slot in range(self.next, until):
            self._put(slot, found.get(slot, {}))
        self.next = until
        self._take_predicted(open_since)

    def read_late(self) -> set[int]:
        """The slots in which something ended that was committed after they had been read."""
        first = max(self.next - LATER_SLOTS, self.first)
        known = {slot: _ended(self._works[slot]) for slot in range(first, self.next)}
        if self._flow.count(first, self.next) == sum(known.values()):
            return set()
        found = self._flow.ended(first, self.next)
        changed = {slot for slot, ended in known.items() if ended != _ended(found.get(slot, {}))}
        for slot in changed:
            self._put(slot, found.get(slot, {}))
        return changed

    def works(self, first: int, until: int) -> dict[str, Work]:
        """What ended in these slots, by service."""
        total: defaultdict[str, Work] = defaultdict(Work)
        for slot in range(first, until):
            for works in (self._works.get(slot, {}), self._predicted.get(slot, {})):
                for service_id, work in works.items():
                    total[service_id].merge(work)
        return total

    def forget(self) -> None:
        """Lets go of slots that nobody asks for any more."""
        self.first = max(self.first, self.next - KEPT_SLOTS)
        for known in (self._works, self._predicted):
            for slot in [slot for slot in known if slot < self.first]:
                del known[slot]

    def _put(self, slot: int, works: Mapping[str, Work]) -> None:
        for service_id, work in self._works.get(slot, {}).items():
            self.ended[service_id] -= work.ended
        for service_id, work in works.items():
            self.ended[service_id] += work.ended
        self._works[slot] = works

    def _take_predicted(self, open_since: int) -> None:
        """Engines tell of predictions; what comes after its second was shown and kept counts in the newest slot."""
        try:
            predicted = self._figures.predicted()
        except HotUnavailable as error:
            log.debug("predictions_untold", reason=error.message)
            return
        for service_id, slot, work in predicted:
            place = slot if open_since <= slot < self.next else self.next - 1
            self._predicted[place].setdefault(service_id, Work()).merge(work)


def _ended(works: Mapping[str, Work]) -> int:
    return sum(work.ended for work in works.values())
