"""Flower beside a real system: each drain is a task, and so is each job, with its outcome."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.system import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    started = System(tmp_path).start("--flower")
    yield started
    started.stop()


def test_flower_shows_drains_and_jobs_with_their_outcome(system: System):
    service = system.run("raise", value=99)
    tasks = system.submit_many(service, range(20))
    refused = system.submit(service, 99)
    system.until_done(service, timeout_s=30)

    def seen() -> dict[str, dict[str, object]]:
        answer = httpx.get(f"{system.flower_url}api/tasks", params={"limit": 1000}, timeout=10)
        return answer.json() if answer.status_code == 200 else {}

    wait_for(lambda: {*tasks, refused} <= seen().keys(), timeout_s=30, what="every job in Flower")
    shown = seen()
    assert {shown[task]["name"] for task in tasks} == {"penstock.job"}
    assert {shown[task]["state"] for task in tasks} == {"SUCCESS"}
    assert shown[refused]["state"] == "FAILURE"
    assert "engine_failed" in str(shown[refused]["exception"])
    assert "penstock.drain" in {str(task["name"]) for task in shown.values()}
