"""Reports and their schedules over HTTP."""

import dataclasses

import pytest

from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope
from inference.ids import DEFAULT_TENANT, new_id
from inference.reports.model import Format, ReportState
from inference.reports.style import policy

BASE = "/api/v1/inference"
DAILY = {"every": "day", "at": "06:30", "timezone": "Asia/Shanghai", "format": "pdf", "mail_to": ["ops@example.org"]}


def key(core, *, role=Role.ADMIN, scope=None):
    made = keys.create(core.access, by=ANYBODY, name="k", role=role, scope=scope or Scope(DEFAULT_TENANT))
    return {"Authorization": f"Bearer {made.text}"}


def finish(core, report_id, body=b"<!doctype html><p>hello", **changes):
    store = core.reports.store
    changes = {"state": ReportState.COMPLETED, "summary": "All is well.", "size_bytes": len(body), **changes}
    store.rows[report_id] = dataclasses.replace(store.rows[report_id], **changes)
    store.bodies[report_id] = body


def test_a_report_is_asked_for_shown_read_and_deleted(client, core, service):
    asked = client.post(
        f"{BASE}/services/{service.id}/reports",
        json={"format": "html", "from": "2026-11-19", "to": "2026-11-20", "language": "zh"},
    )
    report_id, path = asked.json["report_id"], asked.headers["Location"]
    waiting, early = client.get(path), client.get(f"{path}/content")
    finish(core, report_id)
    done, content = client.get(path), client.get(f"{path}/content")
    gone = client.delete(path)

    assert (asked.status_code, asked.json["status"], core.reports.nudge.count) == (202, "pending", 1)
    assert path == f"{BASE}/reports/{report_id}"
    assert (waiting.json["status"], waiting.json["format"], waiting.json["language"]) == ("pending", "html", "zh")
    assert (waiting.json["from"], waiting.json["to"]) == ("2026-11-19T00:00:00.000000Z", "2026-11-20T00:00:00.000000Z")
    assert (early.status_code, early.json["code"]) == (409, "wrong_state")
    assert (done.json["status"], done.json["summary"]) == ("completed", "All is well.")
    assert (content.data, content.mimetype) == (b"<!doctype html><p>hello", "text/html")
    assert content.headers["Content-Security-Policy"] == f"{policy()}; frame-ancestors 'none'"
    assert gone.status_code == 204
    assert client.get(path).json["code"] == "report_not_found"


def test_a_report_on_all_services_covers_a_day_unless_said(client, core):
    asked = client.post(f"{BASE}/reports", json={"format": "pdf"})
    (listed,) = client.get(f"{BASE}/reports").json["reports"]
    (made,) = core.reports.store.rows.values()

    assert asked.headers["Location"] == f"{BASE}/reports/{made.id}"
    assert (listed["report_id"], listed["service_id"]) == (made.id, None)
    assert (made.until, made.until - made.since, made.format) == (core.reports.store.now, 86_400, Format.PDF)


def test_a_failed_report_says_why(client, core):
    report_id = client.post(f"{BASE}/reports", json={}).json["report_id"]
    finish(core, report_id, state=ReportState.FAILED, error_code="pdf_unavailable", error_message="No Pango.")

    answer = client.get(f"{BASE}/reports/{report_id}").json

    assert (answer["status"], answer["error"]) == ("failed", {"code": "pdf_unavailable", "message": "No Pango."})
    assert client.get(f"{BASE}/reports/{report_id}/content").status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"format": "docx"}, "format"),
        ({"language": "fr"}, "language"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-11-20", "to": "2026-11-19"}, "from"),
        ({"from": "2999-01-01"}, "from"),
        ({"to": "1960-01-01", "from": "1970-01-02"}, "from"),
        ({"from": "2000-01-01", "to": "2026-01-01"}, "from"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_field(client, core, body, field):
    answer = client.post(f"{BASE}/reports", json=body)

    assert (answer.status_code, answer.json["details"]["field"]) == (422, field)
    assert core.reports.store.rows == {}


def test_a_schedule_is_put_up_listed_and_removed(client, core, service):
    made = client.post(f"{BASE}/services/{service.id}/report-schedules", json=DAILY)
    of_all = client.post(f"{BASE}/report-schedules", json={"every": "week"})
    listed = client.get(f"{BASE}/services/{service.id}/report-schedules").json["schedules"]
    gone = client.delete(f"{BASE}/report-schedules/{made.json['schedule_id']}")

    assert (made.status_code, of_all.status_code, gone.status_code) == (201, 201, 204)
    assert listed == [made.json]
    assert {name: made.json[name] for name in DAILY} == DAILY
    assert made.json["next_at"].endswith("T22:30:00.000000Z")
    assert (of_all.json["at"], of_all.json["timezone"], of_all.json["format"]) == ("06:00", "UTC", "html")
    assert [one["schedule_id"] for one in client.get(f"{BASE}/report-schedules").json["schedules"]] == [
        of_all.json["schedule_id"]
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"every": "hour"}, "every"),
        ({"at": "24:00"}, "at"),
        ({"at": "6:00"}, "at"),
        ({"timezone": "nowhere"}, "timezone"),
        ({"mail_to": ["not an address"]}, "mail_to.0"),
        ({"mail_to": ["a@example.org\r\nBcc: b@example.org"]}, "mail_to.0"),
        ({"mail_to": [f"a{n}@example.org" for n in range(21)]}, "mail_to"),
        ({"post_to": "ftp://example.org"}, "post_to"),
        ({"post_to": "http://169.254.169.254/latest"}, "post_to"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_by_field(client, core, change, field):
    answer = client.post(f"{BASE}/report-schedules", json={**DAILY, **change})

    assert (answer.status_code, answer.json["details"]["field"]) == (422, field)
    assert core.reports.store.plans == {}


def test_a_viewer_reads_a_submitter_asks_and_an_operator_plans(client, core, service):
    viewer, submitter = key(core, role=Role.VIEWER), key(core, role=Role.SUBMITTER)
    narrow = key(core, role=Role.OPERATOR, scope=Scope(DEFAULT_TENANT, service_id=service.id))
    of_service = f"{BASE}/services/{service.id}"

    def status(who, method, path, body=None):
        return client.open(path, method=method, headers=who, json=body).status_code

    assert status(viewer, "POST", f"{of_service}/reports", {}) == 403
    assert status(submitter, "POST", f"{of_service}/reports", {}) == 202
    assert status(viewer, "GET", f"{BASE}/reports") == 200
    assert status(submitter, "POST", f"{of_service}/report-schedules", DAILY) == 403
    assert status(narrow, "POST", f"{of_service}/report-schedules", DAILY) == 201
    assert status(narrow, "POST", f"{BASE}/reports", {}) == 403
    assert status(narrow, "GET", f"{BASE}/reports/{new_id()}") == 404
