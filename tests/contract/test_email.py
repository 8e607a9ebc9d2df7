"""Mail goes through a real SMTP server: as it should, again when it may help, and not when it cannot."""

import email
import email.policy
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from inference.notify.email import SmtpMail
from tests.services import free_port

TEXT = "slow: 服务 digits 的平均延迟为 0.7 s.\n"


class Postbox:
    """Keeps what it is sent; answers `refusal` where there is one."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.refusal = ""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refusal:
            return self.refusal
        self.letters.append(envelope.content)
        return "250 OK"


@pytest.fixture
def postbox() -> Iterator[tuple[Postbox, int]]:
    box, port = Postbox(), free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


def mail(port: int, **more: object):
    sender = SmtpMail(
        host="127.0.0.1", port=port, sender="penstock@example.org", timeout_s=5.0, **{"security": "none", **more}
    )
    return sender(to=["a@example.org", "b@example.org"], subject="slow 慢", text=TEXT, message_id="id-1")


def test_a_letter_arrives_whole_in_every_script(postbox):
    box, port = postbox

    answer = mail(port)

    (raw,) = box.letters
    letter = email.message_from_bytes(raw, policy=email.policy.default)
    assert (answer.status, answer.error) == (250, None)
    assert (letter["Subject"], letter["To"], letter["Message-ID"]) == (
        "slow 慢", "a@example.org, b@example.org", "<id-1@penstock>",
    )  # fmt: skip
    assert letter.get_content().replace("\r\n", "\n") == TEXT


@pytest.mark.parametrize(("refusal", "is_hopeless"), [("451 try later", False), ("550 no such mailbox", True)])
def test_only_a_refusal_for_good_is_hopeless(postbox, refusal, is_hopeless):
    box, port = postbox
    box.refusal = refusal

    answer = mail(port)

    assert (answer.status, answer.is_hopeless) == (None, is_hopeless)
    assert refusal[4:] in answer.error


def test_a_server_that_is_away_or_has_no_tls_is_told_and_not_raised(postbox):
    _, port = postbox

    away, without_tls = mail(free_port()), mail(port, security="starttls")

    assert "refused" in away.error
    assert "STARTTLS" in without_tls.error
    assert [away.is_hopeless, without_tls.is_hopeless] == [False, False]
