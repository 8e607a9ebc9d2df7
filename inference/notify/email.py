"""Sends one e-mail over SMTP, within its time."""

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate

from inference.notify.model import Answer

Attachment = tuple[str, str, bytes]
"""File name, media type, content."""

MESSAGE_LIMIT = 300
SECURITIES = ("none", "starttls", "tls")
REFUSED_FOR_GOOD = 500


class SmtpMail:
    """One connection a message: alerts are few. Thread-safe.

    `security`: none, starttls (the server must offer it) or tls from the first byte; certificates are checked.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: str = "starttls",
        user: str = "",
        password: str = "",
        sender: str,
        timeout_s: float = 15.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port, self._security = host, port, security
        self._user, self._password, self._sender = user, password, sender
        self._timeout_s = timeout_s
        self._context = context

    def __call__(
        self,
        *,
        to: Sequence[str],
        subject: str,
        text: str,
        message_id: str,
        attachment: Attachment | None = None,
    ) -> Answer:
        """Never raises. `message_id` is the same at each attempt, so that a mailbox can tell a message sent twice.

        An answer of 5xx is hopeless: the server knows the address or the sender is none.
        """
        if not self._host:
            return Answer(error="There is no mail server: PENSTOCK_ALERTS__SMTP_HOST is not set.", is_hopeless=True)
        try:
            message = self._message(to, subject, text, message_id)
            if attachment is not None:
                name, media, content = attachment
                kind, _, subtype = media.partition("/")
                message.add_attachment(content, maintype=kind, subtype=subtype, filename=name)
            with self._open() as server:
                if self._user:
                    server.login(self._user, self._password)
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            return _refused(error.recipients, is_for_all=True)
        except smtplib.SMTPResponseException as error:
            reason = f"The mail server answered {error.smtp_code}: {_text(error.smtp_error)}"[:MESSAGE_LIMIT]
            return Answer(error=reason, is_hopeless=error.smtp_code >= REFUSED_FOR_GOOD)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return Answer(error=f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT])
        return Answer(status=250) if not refused else _refused(refused, is_for_all=False)

    def _message(self, to: Sequence[str], subject: str, text: str, message_id: str) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, ", ".join(to), subject
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{message_id}@penstock>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    def _open(self) -> smtplib.SMTP:
        if self._security == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout_s, context=self._checked())
        server = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        if self._security == "starttls":
            try:
                server.starttls(context=self._checked())
            except BaseException:
                server.close()
                raise
        return server

    def _checked(self) -> ssl.SSLContext:
        return self._context or ssl.create_default_context()


def _refused(recipients: dict[str, tuple[int, bytes]], *, is_for_all: bool) -> Answer:
    """Where some got it, it is not sent again: they would get it twice."""
    code = max(code for code, _ in recipients.values())
    reason = "; ".join(f"{who}: {code} {_text(why)}" for who, (code, why) in recipients.items())
    is_hopeless = code >= REFUSED_FOR_GOOD or not is_for_all
    return Answer(error=f"The mail server refused {reason}"[:MESSAGE_LIMIT], is_hopeless=is_hopeless)


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words
