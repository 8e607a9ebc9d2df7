"""The thread of the control process that measures services, and rolls up what it measured."""

import time

from inference.core import Core
from inference.telemetry.ports import SLOTS_PER_S
from inference.telemetry.roll import Roller
from inference.telemetry.sampler import LATE_S, Sampler
from workers.duty import DutyThread


class SamplerThread(DutyThread):
    """The tick table says whose turn it is."""

    def __init__(self, core: Core, *, name: str) -> None:
        super().__init__("sampler")
        self._now_s = core.telemetry.flow.now_s
        self._sampler = Sampler(core.telemetry, by=name)
        self._roller = Roller(core.telemetry)

    def turn(self) -> float:
        """Measures what is due."""
        is_well = self.do("sample", self._sample)
        return _until_next(self._now_s() if is_well else time.time())

    def _sample(self) -> None:
        if (published := self._sampler.turn()) is not None:
            self._roller.turn(published.at)


def _until_next(now: float) -> float:
    """Seconds until the next slot is over, and what was committed in it can be read."""
    span_s = 1 / SLOTS_PER_S
    return span_s - (now - LATE_S) % span_s + 0.005
