"""What the control process does again and again: a thread of its own for each kind of duty, which no bad turn ends."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import structlog

from inference.errors import PenstockError

log = structlog.get_logger(__name__)

STOP_S = 5.0


class DutyThread(ABC):
    """Takes turns until it is stopped, the first one at once. Any number of processes may have one of a kind."""

    def __init__(self, name: str) -> None:
        self._wake = threading.Event()
        self._is_stopping = False
        self._ill: set[str] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def turn(self) -> float:
        """Does what is due; seconds until the next turn. Never raises."""

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """The next turn comes at once. Does not wait for it."""
        self._wake.set()

    def stop(self) -> None:
        """Returns when the turn under way, if any, is done; at most after five seconds. Unstarted, it does nothing."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def do(self, duty: str, work: Callable[[], object]) -> bool:
        """False when what it needs is away: a later turn makes up for this one. Never raises.

        That it is away is logged once, and once that it is back.
        """
        try:
            work()
        except PenstockError as error:
            if duty not in self._ill:
                log.warning("duty_failed", duty=duty, error=error.message)
            self._ill.add(duty)
            return False
        except Exception:
            # The outer edge of the thread: one bad turn must not end all the later ones.
            log.exception("duty_failed", duty=duty)
            return True
        if duty in self._ill:
            log.info("duty_back", duty=duty)
        self._ill.discard(duty)
        return True

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.wait(self.turn())
            self._wake.clear()
