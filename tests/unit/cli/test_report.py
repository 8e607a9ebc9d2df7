"""`penstock report` as a person and a script meet it."""

import json

import pytest

from inference.ids import new_id

BASE = "/api/v1/inference"
REPORT_ID, SERVICE_ID, SCHEDULE_ID = new_id(), new_id(), new_id()
PATH = f"{BASE}/reports/{REPORT_ID}"
DONE = {
    "report_id": REPORT_ID, "service_id": SERVICE_ID, "status": "completed", "format": "html", "size_bytes": 5,
    "from": "2026-11-19T00:00:00.000000Z", "to": "2026-11-20T00:00:00.000000Z", "summary": "All is well.",
}  # fmt: skip


@pytest.fixture(autouse=True)
def answers(server):
    server.answers["GET", f"{BASE}/services"] = (200, {"services": [{"service_id": SERVICE_ID, "name": "digits"}]})
    server.answers["POST", f"{BASE}/services/{SERVICE_ID}/reports"] = (202, {"report_id": REPORT_ID, "status": "p"})
    server.answers["GET", PATH] = [(200, {**DONE, "status": "pending"}), (200, DONE)]
    server.answers["GET", f"{PATH}/content"] = (200, "<p>\r\nhello")
    server.answers["POST", f"{BASE}/report-schedules"] = (201, {"schedule_id": SCHEDULE_ID})
    server.answers["DELETE", f"{BASE}/report-schedules/{SCHEDULE_ID}"] = (204, None)


def test_a_report_is_waited_for_and_saved(penstock, server, tmp_path):
    out = tmp_path / "digits.html"

    done = penstock("report", "create", "--service", "digits", "--from", "2026-11-19", "--out", str(out))

    asked = next(json.loads(one.content) for one in server.requests if one.method == "POST")
    assert done.exit_code == 0, done.output
    assert "All is well." in done.output
    assert out.read_bytes() == b"<p>\r\nhello"
    assert list(tmp_path.iterdir()) == [out]
    assert (asked["format"], asked["language"], asked["from"]) == ("html", "en", "2026-11-19")


def test_why_a_report_failed_is_told_and_no_file_is_left(penstock, server, tmp_path):
    error = {"code": "pdf_unavailable", "message": "PDF needs WeasyPrint."}
    server.answers["GET", PATH] = (200, {**DONE, "status": "failed", "error": error})

    failed = penstock("report", "create", "--service", "digits", "--format", "pdf", "--out", str(tmp_path / "a.pdf"))

    assert failed.exit_code == 1
    assert "PDF needs WeasyPrint." in failed.output
    assert "--format html" in failed.output
    assert list(tmp_path.iterdir()) == []


def test_reports_are_a_table(penstock, server):
    server.answers["GET", f"{BASE}/reports"] = (200, {"reports": [DONE]})

    shown = penstock("report", "list")

    assert "completed" in shown.output


def test_a_schedule_is_put_up_and_removed(penstock, server):
    put_up = penstock(
        "report", "schedule", "week", "--format", "pdf", "--mail-to", "a@b.org", "--at", "07:00", "--json"
    )
    sent = server.last_body
    removed = penstock("report", "unschedule", SCHEDULE_ID)

    assert json.loads(put_up.output) == {"schedule_id": SCHEDULE_ID}
    assert (sent["every"], sent["at"], sent["format"], sent["mail_to"]) == ("week", "07:00", "pdf", ["a@b.org"])
    assert removed.exit_code == 0
