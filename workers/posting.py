"""How the control process, and who makes reports for it, post and mail: where to, and with which client."""

from typing import TYPE_CHECKING

from inference.core import Core
from inference.errors import StoreUnavailable
from inference.notify import guard
from inference.notify.model import Answer

if TYPE_CHECKING:
    from inference.notify.email import SmtpMail


def reach(core: Core) -> tuple[guard.Network, ...]:
    """Asked at every attempt: a key that is made closes the system at once."""
    try:
        is_open = not core.door.is_closed()
    except StoreUnavailable:
        is_open = False
    return guard.reach(core.settings.notify.allowed_networks, is_open=is_open)


class Post:
    """The HTTP client is large, and most systems send nothing: it is made at the first webhook."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self, url: str, *, body: bytes, headers: dict[str, str]) -> Answer:
        from inference.notify.post import HttpPost

        core = self._core
        post = HttpPost(allowed=lambda: reach(core), timeout_s=core.settings.notify.timeout_s)
        return post(url, body=body, headers=headers)


def mail(core: Core) -> "SmtpMail":
    """What sends letters, as the settings of alerts say."""
    from inference.notify.email import SmtpMail

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
