"""Flower beside a real system: each drain is a task, and so is each job, with its outcome."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.system import BASE, System, wait_for

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


def test_once_there_are_keys_flower_is_for_operators_of_the_whole_system(system: System):
    wait_for(lambda: status_of(system, "") == 200, timeout_s=30, what="Flower, open")
    admin = make_key(system, "", role="admin", is_system=True)

    wait_for(lambda: status_of(system, "") == 401, timeout_s=5, what="Flower, closed")
    operator = make_key(system, admin, role="operator", is_system=True)
    viewer = make_key(system, admin, role="viewer", is_system=True)
    of_a_tenant = make_key(system, admin, role="operator")

    wait_for(lambda: status_of(system, operator) == 200, timeout_s=5, what="Flower, for an operator")
    assert status_of(system, viewer) == 403
    assert status_of(system, of_a_tenant) == 403
    assert status_of(system, f"{operator}x") == 401


def make_key(system: System, key: str, **wanted: object) -> str:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    made = system.ask("POST", f"{BASE}/keys", {"name": "flower", **wanted}, expect=201, headers=headers)
    return str(made["key"])


def status_of(system: System, key: str) -> int:
    login = ("anybody", key) if key else None
    return httpx.get(f"{system.flower_url}api/tasks", auth=login, timeout=10).status_code
