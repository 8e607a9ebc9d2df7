"""Sends webhooks, in a thread of the control process that needs no broker."""

from inference.clock import monotonic_s
from inference.core import Core
from inference.notify.deliver import Courier
from workers import posting
from workers.duty import DutyThread

POLL_S = 0.5
BUSY_S = 0.05
TIDY_S = 600.0
TIDY_ROWS = 1000


class CourierThread(DutyThread):
    """Each delivery is leased by one sender; what a stop leaves under way is due again later."""

    def __init__(self, core: Core, *, name: str) -> None:
        super().__init__("courier")
        self._core = core
        self._name = name
        self._courier: Courier | None = None
        self._tidied_at = monotonic_s()
        self._has_begun = False

    def turn(self) -> float:
        """Sends what is due."""
        self._has_begun = False
        self.do("webhooks", self._work)
        return BUSY_S if self._has_begun else POLL_S

    def _work(self) -> None:
        self._has_begun = self._deliver()
        self._tidy()

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

        core = self._core
        post = HttpPost(allowed=lambda: posting.reach(core), timeout_s=core.settings.notify.timeout_s)
        return Courier(core.notify, post, by=self._name)

    def _tidy(self) -> None:
        if monotonic_s() - self._tidied_at >= TIDY_S:
            self._tidied_at = monotonic_s()
            keep_s = self._core.settings.notify.keep_s
            while self._core.notify.outbox.delete_settled(older_than_s=keep_s, limit=TIDY_ROWS) == TIDY_ROWS:
                pass
