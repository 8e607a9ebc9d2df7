"""Flower beside a real system: each drain is a task, and so is each job, with its outcome."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.system import BASE, System, wait_for
from workers.launching.roles import FLOWER_TASKS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JOBS, SUBMITTED = 15_000, 5_000
"""More than Flower remembers."""
MOST_MB = 220.0


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


def test_after_ten_thousand_jobs_flower_answers_and_its_memory_has_a_bound(system: System):
    service = system.run("double")
    ended = [system.submit_many(service, [1.0] * SUBMITTED) for _ in range(JOBS // SUBMITTED)]
    system.until_done(service, timeout_s=60)

    def remembered() -> int:
        answer = httpx.get(f"{system.flower_url}api/tasks", params={"limit": 2 * JOBS}, timeout=60)
        return len(answer.json()) if answer.status_code == 200 else 0

    wait_for(lambda: remembered() >= min(JOBS, FLOWER_TASKS), timeout_s=60, what="the jobs in Flower")
    tasks = remembered()
    page = httpx.get(f"{system.flower_url}tasks", timeout=10)
    (pid,) = system.pids("flower")
    pss_mb = psutil.Process(pid).memory_full_info().pss / 1e6

    print(f"{len(ended) * SUBMITTED} jobs, {tasks} tasks in Flower, {pss_mb:.0f} MB PSS")
    assert page.status_code == 200
    assert tasks <= FLOWER_TASKS
    assert pss_mb < MOST_MB


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
