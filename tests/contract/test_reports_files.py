"""PDF files as they are, and what arrives when a report is mailed and posted: real libraries, a real mail server."""

import base64
import email
import email.policy
import http.server
import io
import json
import threading
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from standardwebhooks.webhooks import Webhook

from inference.access.model import Scope
from inference.errors import PdfUnavailable
from inference.ids import DEFAULT_TENANT, new_id
from inference.notify import guard
from inference.notify.email import SmtpMail
from inference.notify.post import HttpPost
from inference.reports import make
from inference.reports.model import Format, Report, ReportState
from inference.reports.ports import ReportPorts, Telling
from inference.reports.render import render
from inference.store.database import Database
from tests.contract.jobs import SERVICE
from tests.contract.test_reports import ports  # noqa: F401 - a fixture
from tests.fakes_reports import facts, report, system_facts
from tests.services import free_port

MINE = Scope(DEFAULT_TENANT)


def pages(language: str, **given: object) -> list[str]:
    """The text of each page of a PDF, or the test is skipped where none can be made."""
    import pypdf

    try:
        made = system_facts() if language == "zh" else facts()
        body, _ = render(report(format=Format.PDF, language=language, **given), made, base_url="")
    except PdfUnavailable as error:
        pytest.skip(error.message)
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(body)).pages]


def test_a_pdf_has_numbered_pages_and_the_text_of_the_page():
    found = pages("en")

    assert len(found) > 1
    for number, text in enumerate(found, start=1):
        assert f"{number} / {len(found)}" in text
        assert "Report on digits" in text
    assert "1,284,310 tasks completed" in found[0]
    assert "Slowest tasks" in "".join(found)


def test_a_pdf_in_chinese_holds_its_letters_as_text():
    found = pages("zh", service_id="")

    assert "全部服务报告" in found[0]
    assert "共完成1,284,310个任务" in "".join(found[0].split())
    assert "文字识别" in "".join(found)
    assert "最慢的任务" in "".join(found)


class Inbox:
    """What came by mail and by webhook; the first webhook is refused."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.hooks: list[tuple[dict[str, str], bytes]] = []
        inbox = self

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                inbox.hooks.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(503 if len(inbox.hooks) == 1 else 200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.hook_url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.smtp_port = free_port()
        self._smtp = Controller(self, hostname="127.0.0.1", port=self.smtp_port)
        self._smtp.start()

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        self.letters.append(envelope.content)  # type: ignore[attr-defined]
        return "250 OK"

    def close(self) -> None:
        self._smtp.stop()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


def test_a_report_is_mailed_with_its_file_and_posted_with_a_signature_until_it_is_taken(
    database: Database,
    ports: ReportPorts,  # noqa: F811
    inbox: Inbox,
):
    telling = Telling(
        mail=SmtpMail(host="127.0.0.1", port=inbox.smtp_port, security="none", sender="penstock@localhost"),
        post=HttpPost(allowed=lambda: guard.reach("127.0.0.0/8", is_open=False)),
    )
    made = ports.store.ask(
        Report(
            id=new_id(), tenant_id=DEFAULT_TENANT, service_id=SERVICE, format=Format.HTML, language="zh",
            timezone="Asia/Shanghai", since=1_795_046_400.0, until=1_795_132_800.0, mail_to=("ops@example.org",),
            post_to=inbox.hook_url,
        ),
        most=10,
    )  # fmt: skip

    assert make.next_one(ports, telling, by="one")  # makes
    assert make.next_one(ports, telling, by="one")  # tells
    halfway = ports.store.get(MINE, made.id)
    with database.write() as connection:  # the pause before the next try
        connection.exec_driver_sql("UPDATE reports SET due_at = 0")
    assert make.next_one(ports, telling, by="one")
    assert not make.next_one(ports, telling, by="one")

    assert (halfway.mailed_at is None, halfway.posted_at is None) == (False, True)
    assert "503" in (halfway.tell_note or "")
    content = ports.store.content(MINE, made.id)
    (raw,) = inbox.letters
    letter = email.message_from_bytes(raw, policy=email.policy.default)
    (file,) = letter.iter_attachments()
    assert letter["Subject"].startswith("服务报告：service 5555")
    assert "没有请求" in letter.get_body().get_content()  # type: ignore[union-attr]
    assert (file.get_content_type(), file.get_filename()[-5:]) == ("text/html", ".html")
    assert file.get_payload(decode=True) == content
    (key,) = ports.secrets.in_force(DEFAULT_TENANT)
    for headers, body in inbox.hooks:
        told = Webhook(key).verify(body, {name.lower(): value for name, value in headers.items()})
        assert (told["type"], told["data"]["report_id"]) == ("report.completed", made.id)
        assert base64.b64decode(told["data"]["content"]) == content
        assert json.loads(body)["data"]["from"] == "2026-11-19T00:00:00.000000Z"
    assert len(inbox.hooks) == 2


def test_a_report_that_cannot_be_mailed_says_why_and_is_kept(ports: ReportPorts):  # noqa: F811
    telling = Telling(mail=SmtpMail(host="", port=25, sender="p@localhost"), post=HttpPost())
    made = ports.store.ask(
        Report(
            id=new_id(), tenant_id=DEFAULT_TENANT, service_id=SERVICE, format=Format.HTML, language="en",
            timezone="UTC", since=0.0, until=1.0, mail_to=("ops@example.org",), post_to="http://10.0.0.1/hook",
        ),
        most=10,
    )  # fmt: skip

    assert make.next_one(ports, telling, by="one")
    assert make.next_one(ports, telling, by="one")
    assert not make.next_one(ports, telling, by="one")

    kept = ports.store.get(MINE, made.id)
    assert kept.state is ReportState.COMPLETED
    assert "SMTP_HOST" in (kept.tell_note or "")
    assert "post:" in (kept.tell_note or "")
    assert not ports.store.is_due()
