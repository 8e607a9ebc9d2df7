"""The thread of the control process that evaluates alert rules, and carries out what alerts order."""

from inference.alerts.act import Performer
from inference.alerts.run import Evaluator
from inference.clock import monotonic_s
from inference.core import Core
from inference.notify.email import SmtpMail
from inference.notify.model import Answer
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
        self._performer = Performer(core.alerts, by=name, post=_Post(core), mail=_mail(core))
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


class _Post:
    """The HTTP client is large, and most systems send nothing: it is made at the first webhook."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self, url: str, *, body: bytes, headers: dict[str, str]) -> Answer:
        from inference.notify.post import HttpPost

        core = self._core
        post = HttpPost(allowed=lambda: posting.reach(core), timeout_s=core.settings.notify.timeout_s)
        return post(url, body=body, headers=headers)


def _mail(core: Core) -> SmtpMail:
    alerts = core.settings.alerts
    return SmtpMail(
        host=alerts.smtp_host,
        port=alerts.smtp_port,
        security=alerts.smtp_security,
        user=alerts.smtp_user,
        password=alerts.smtp_password,
        sender=alerts.smtp_from,
        timeout_s=alerts.smtp_timeout_s,
    )
