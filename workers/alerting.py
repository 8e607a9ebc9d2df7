"""The thread of the control process that evaluates alert rules, and carries out what alerts order."""

from inference.alerts.act import Performer
from inference.alerts.run import Evaluator
from inference.clock import monotonic_s
from inference.core import Core
from workers import posting
from workers.duty import DutyThread

LOOK_S = 1.0
"""How soon an order that failed, or that another process wrote, is seen."""


class AlertThread(DutyThread):
    """One of all processes evaluates, and each order is leased by one."""

    def __init__(self, core: Core, *, name: str) -> None:
        super().__init__("alerts")
        self._every_s = core.settings.alerts.every_s
        self._evaluator = Evaluator(core.alerts, by=name)
        self._performer = Performer(core.alerts, by=name, post=posting.Post(core), mail=posting.mail(core))
        self._evaluated_at = float("-inf")

    def turn(self) -> float:
        """Evaluates the rules when that is due, and carries out what is ordered."""
        self.do("alerts", self._alert)
        return min(LOOK_S, self._every_s)

    def _alert(self) -> None:
        if monotonic_s() - self._evaluated_at >= self._every_s:
            self._evaluated_at = monotonic_s()
            self._evaluator.turn()
        self._performer.turn()
