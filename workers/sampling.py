"""The thread of the control process that measures services, and rolls up what it measured."""

import threading
import time

import structlog

from inference.core import Core
from inference.errors import PenstockError
from inference.telemetry.ports import SLOTS_PER_S
from inference.telemetry.roll import Roller
from inference.telemetry.sampler import LATE_S, Sampler

log = structlog.get_logger(__name__)


class SamplerThread:
    """Any number of control processes may have one: the tick table says whose turn it is."""

    def __init__(self, core: Core, *, name: str) -> None:
        self._now_s = core.telemetry.flow.now_s
        self._sampler = Sampler(core.telemetry, by=name)
        self._roller = Roller(core.telemetry)
        self._stopping = threading.Event()
        self._is_ill = False
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the turn under way, if any, is done; at most after five seconds."""
        self._stopping.set()
        self._thread.join(5)

    def turn(self) -> None:
        """Measures what is due. Never raises: with the database away, a later turn makes up for this one."""
        try:
            if (published := self._sampler.turn()) is not None:
                self._roller.turn(published.at)
        except PenstockError as error:
            if not self._is_ill:
                log.warning("sampling_failed", error=error.message)
            self._is_ill = True
        except Exception:
            # The outer edge of the thread: one bad turn must not end all the later ones.
            log.exception("sampling_failed")
        else:
            if self._is_ill:
                log.info("sampling_back")
            self._is_ill = False

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.turn()
            self._stopping.wait(_until_next(time.time() if self._is_ill else self._now_s()))


def _until_next(now: float) -> float:
    """Seconds until the next slot is over, and what was committed in it can be read."""
    span_s = 1 / SLOTS_PER_S
    return span_s - (now - LATE_S) % span_s + 0.005
