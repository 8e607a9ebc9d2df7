"""The thread of the control process that evaluates alert rules, and carries out what alerts order."""

import threading

import structlog

from inference.alerts.act import Performer
from inference.alerts.run import Evaluator
from inference.clock import monotonic_s
from inference.core import Core
from inference.errors import PenstockError, StoreUnavailable
from inference.notify import guard
from inference.notify.email import SmtpMail
from inference.notify.model import Answer

log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""How soon an order that failed, or that another process wrote, is seen."""


class AlertThread:
    """Any number of control processes may have one: one of them evaluates, and each order is leased by one."""

    def __init__(self, core: Core, *, name: str) -> None:
        self._core = core
        self._every_s = core.settings.alerts.every_s
        self._evaluator = Evaluator(core.alerts, by=name)
        self._performer = Performer(core.alerts, by=name, post=_Post(core), mail=_mail(core))
        self._evaluated_at = float("-inf")
        self._stopping = threading.Event()
        self._is_ill = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the turn under way, if any, is done; at most after five seconds."""
        self._stopping.set()
        self._thread.join(5)

    def turn(self) -> None:
        """Does what is due. Never raises: with the database away, a later turn makes up for this one."""
        try:
            if monotonic_s() - self._evaluated_at >= self._every_s:
                self._evaluated_at = monotonic_s()
                self._evaluator.turn()
            self._performer.turn()
        except PenstockError as error:
            if not self._is_ill:
                log.warning("alerts_wait", error=error.message)
            self._is_ill = True
        except Exception:
            # The outer edge of the thread: one bad turn must not end all the later ones.
            log.exception("alerts_failed")
        else:
            if self._is_ill:
                log.info("alerts_back")
            self._is_ill = False

    def _run(self) -> None:
        while not self._stopping.wait(min(LOOK_S, self._every_s)):
            self.turn()


class _Post:
    """The HTTP client is large, and most systems send nothing: it is made at the first webhook."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self, url: str, *, body: bytes, headers: dict[str, str]) -> Answer:
        from inference.notify.post import HttpPost

        post = HttpPost(allowed=self._may_reach, timeout_s=self._core.settings.notify.timeout_s)
        return post(url, body=body, headers=headers)

    def _may_reach(self) -> tuple[guard.Network, ...]:
        try:
            is_open = not self._core.door.is_closed()
        except StoreUnavailable:
            is_open = False
        return guard.reach(self._core.settings.notify.allowed_networks, is_open=is_open)


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
