"""Reports of a whole system: asked for over HTTP, made by a process of their own, and read in a real browser."""

from pathlib import Path
from typing import Any

import pytest

from tests import chromium
from tests.services import wait_for
from tests.system import BASE, System

BAD = 555.0


def made(system: System, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The report, once it is over."""
    report_id = system.ask("POST", path, body, expect=202)["report_id"]

    def over() -> dict[str, Any] | None:
        found = system.ask("GET", f"{BASE}/reports/{report_id}")
        return dict(found) if found["status"] in ("completed", "failed") else None

    return wait_for(over, timeout_s=60, what="a report")  # type: ignore[no-any-return, call-overload]


def completed(system: System, service_id: str) -> float:
    points = system.ask("GET", f"{BASE}/services/{service_id}/metrics", params={"step": 1})["points"]
    return sum(point["throughput"] + point["errors"] for point in points)


def test_what_ran_stands_in_the_report_and_a_browser_shows_it_without_a_complaint(system: System, tmp_path: Path):
    service_id = system.run("raise", config={"max_batch": 1})
    bad = system.submit(service_id, BAD)
    system.submit_many(service_id, [float(n) for n in range(24)])
    system.until_done(service_id, timeout_s=30)
    wait_for(lambda: completed(system, service_id) >= 25, timeout_s=20, what="measured")

    report = made(system, f"{BASE}/services/{service_id}/reports", {"format": "html"})
    content = system.http.get(f"{BASE}/reports/{report['report_id']}/content")
    failed = system.task(bad)["error"]

    assert report["status"] == "completed"
    assert report["summary"].startswith("24 tasks completed")
    assert f"1 failed (4 %), most often with {failed['code']}" in report["summary"]
    assert (content.status_code, content.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'href="{BASE}/tasks/{bad}"' in content.text
    assert failed["message"].split(":")[0] in content.text
    assert not system.pids("reports")
    if chromium.BINARY is None:
        pytest.skip("no Chromium: the page was not looked at")
    browser = chromium.Chromium(tmp_path)
    try:
        url = f"{system.url}{BASE}/reports/{report['report_id']}/content"
        browser.open(url)
        styled = browser.until(
            "document.querySelector('.tiles') && getComputedStyle(document.querySelector('.tiles')).display"
        )
        shown = browser.ask("document.querySelectorAll('svg.plot').length")
    finally:
        browser.close()
    assert (styled, shown >= 3, browser.requests) == ("flex", True, [url])
    assert browser.complaints == []


def test_a_pdf_of_all_services_is_made_or_says_in_one_sentence_what_it_lacks(system: System):
    report = made(system, f"{BASE}/reports", {"format": "pdf", "language": "zh", "timezone": "Asia/Shanghai"})
    content = system.http.get(f"{BASE}/reports/{report['report_id']}/content")

    if report["status"] == "completed":
        assert content.content.startswith(b"%PDF-")
        assert content.headers["content-type"] == "application/pdf"
    else:
        assert (report["error"]["code"], content.status_code) == ("pdf_unavailable", 409)
