"""Sends webhooks, in a thread of the control process that needs no broker."""

import threading

import structlog

from inference.clock import monotonic_s
from inference.core import Core
from inference.errors import PenstockError, StoreUnavailable
from inference.notify import guard
from inference.notify.deliver import Courier

log = structlog.get_logger(__name__)

POLL_S = 0.5
BUSY_S = 0.05
TIDY_S = 600.0
TIDY_ROWS = 1000


class CourierThread:
    """Any number of control processes may have one: each delivery is leased by one sender."""

    def __init__(self, core: Core, *, name: str) -> None:
        self._core = core
        self._name = name
        self._ended = threading.Event()
        self._courier: Courier | None = None
        self._tidied_at = monotonic_s()
        self._is_ill = False
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the attempts under way are over, at most after five seconds; what is left is due again later."""
        self._ended.set()
        self._thread.join(5)

    def _run(self) -> None:
        pause_s = POLL_S
        while not self._ended.wait(pause_s):
            pause_s = BUSY_S if self._turn() else POLL_S

    def _turn(self) -> bool:
        """Whether something was begun. The outer edge of the thread: one bad turn must not end all the later ones."""
        try:
            began = self._deliver()
            self._tidy()
        except PenstockError as error:
            if not self._is_ill:
                log.warning("webhooks_wait", reason=error.message)
            self._is_ill = True
            return False
        except Exception:
            log.exception("courier_failed")
            return False
        if self._is_ill:
            log.info("webhooks_resumed")
        self._is_ill = False
        return began

    def _deliver(self) -> bool:
        wait_s = self._core.notify.outbox.next_due_s()
        if wait_s is None or wait_s > 0:
            return False
        if self._courier is None:
            self._courier = self._make()
        return self._courier.deliver(wait_s=POLL_S) > 0

    def _make(self) -> Courier:
        """At the first webhook only: most systems send none, and the HTTP client is large."""
        from inference.notify.post import HttpPost

        settings = self._core.settings.notify
        return Courier(
            self._core.notify, HttpPost(allowed=self._may_reach, timeout_s=settings.timeout_s), by=self._name
        )

    def _may_reach(self) -> tuple[guard.Network, ...]:
        """Asked at every attempt: a key that is made closes the system at once."""
        try:
            is_open = not self._core.door.is_closed()
        except StoreUnavailable:
            is_open = False
        return guard.reach(self._core.settings.notify.allowed_networks, is_open=is_open)

    def _tidy(self) -> None:
        if monotonic_s() - self._tidied_at >= TIDY_S:
            self._tidied_at = monotonic_s()
            keep_s = self._core.settings.notify.keep_s
            while self._core.notify.outbox.delete_settled(older_than_s=keep_s, limit=TIDY_ROWS) == TIDY_ROWS:
                pass
