"""Logs of a whole system: what went wrong is found by its words and its task, as it comes, and by nobody else."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services import wait_for
from tests.system import BASE, System, kill

BAD = 555.0


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with keys; its own hands hold an administrator's."""
    folder = tmp_path_factory.mktemp("logs")
    system = System(folder, REGISTRY__MODEL_ROOTS=folder).start()
    made = system.ask("POST", f"{BASE}/keys", {"name": "admin", "role": "admin", "is_system": True}, expect=201)
    system.http.headers["Authorization"] = f"Bearer {made['key']}"
    system.key = made["key"]
    yield system
    system.stop()


class Listener(threading.Thread):
    """Follows a tail, and keeps what it is told."""

    def __init__(self, system: System, path: str, key: str) -> None:
        super().__init__(daemon=True)
        self.events: list[dict[str, Any]] = []
        self._client = httpx.Client(base_url=system.url, headers={"X-API-Key": key}, timeout=30)
        self._path = path
        self.begun = threading.Event()
        self.start()
        self.begun.wait(10)

    def run(self) -> None:
        # It ends with the system, or with the right to listen.
        with suppress(httpx.HTTPError), self._client as client, client.stream("GET", self._path) as answer:
            for line in answer.iter_lines():
                self.begun.set()
                if line.startswith("data: "):
                    self.events.append(json.loads(line[6:]))

    def heard(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one.get("event") == event]


def logs(system: System, service_id: str, **query: Any) -> list[dict[str, Any]]:
    return list(system.ask("GET", f"{BASE}/services/{service_id}/logs", params=query)["logs"])


def test_a_failed_task_is_found_by_word_and_id_and_told_while_it_happens(closed: System) -> None:
    service = closed.run("raise")
    tail = Listener(closed, f"{BASE}/services/{service}/logs/tail?level=error", closed.key)

    good, bad = closed.submit(service, 1.0), closed.submit(service, BAD)
    assert closed.task(bad, wait_s=20)["status"] == "failed"

    found = wait_for(lambda: logs(closed, service, keyword="engine asked", level="error"), timeout_s=10, what="entry")
    assert [(one["task_id"], one["event"], one["role"]) for one in found] == [(bad, "job_failed", "engine")]
    assert [one["task_id"] for one in logs(closed, service, task_id=bad)] == [bad]
    assert logs(closed, service, task_id=good) == []
    assert {"worker_started", "engine_loaded"} <= {one["event"] for one in logs(closed, service)}
    wait_for(lambda: tail.heard("job_failed"), timeout_s=10, what="the tail")
    assert [one["task_id"] for one in tail.heard("job_failed")] == [bad]
    analysis = closed.ask("GET", f"{BASE}/services/{service}/logs/analysis")
    assert analysis["counts"]["error"] == 1
    assert [group["is_new"] for group in analysis["groups"]] == [True]
    assert [group["count"] for group in analysis["deployment"]["appeared"]] == [1]


def test_nobody_else_sees_them_and_a_key_that_is_revoked_hears_no_more(closed: System) -> None:
    service = closed.run("double")
    closed.ask("POST", f"{BASE}/tenants", {"tenant_id": "acme", "name": "Acme"}, expect=201)
    theirs = closed.ask("POST", f"{BASE}/keys", {"name": "a", "role": "admin", "tenant_id": "acme"}, expect=201)["key"]
    viewer = closed.ask("POST", f"{BASE}/keys", {"name": "v", "role": "viewer"}, expect=201)

    def asked(path: str, key: str) -> int:
        return httpx.get(f"{closed.url}{BASE}{path}", headers={"X-API-Key": key}, timeout=10).status_code

    wait_for(lambda: asked("/me", theirs) == asked("/me", viewer["key"]) == 200, timeout_s=5, what="known keys")
    paths = ("", "/tail", "/analysis", "/export")
    assert {asked(f"/services/{service}/logs{path}", theirs) for path in paths} == {404}
    assert {asked(f"/logs{path}", key) for path in paths for key in (theirs, viewer["key"])} == {403}
    assert asked(f"/services/{service}/logs/tail?level=loud", viewer["key"]) == 422
    tail = Listener(closed, f"{BASE}/services/{service}/logs/tail", viewer["key"])
    closed.ask("POST", f"{BASE}/keys/{viewer['key_id']}/revoke")

    wait_for(lambda: not tail.is_alive(), timeout_s=10, what="end of the tail")
    assert tail.events[-1]["code"] == "unauthenticated"


def test_a_killed_worker_is_in_the_logs_of_its_service_and_all_is_in_those_of_the_system(closed: System) -> None:
    service = closed.run("double")

    kill(closed.pids("worker", service)[0])

    found = wait_for(lambda: logs(closed, service, keyword="worker crashed"), timeout_s=15, what="worker_crashed")
    assert [one["code"] for one in found] == [-9]
    everybody = closed.ask("GET", f"{BASE}/logs", params={"limit": 1000})["logs"]
    assert {"control", "node", "engine"} <= {one["role"] for one in everybody}
    times = [one["timestamp"] for one in everybody]
    assert times == sorted(times, reverse=True)


def test_no_file_holds_a_key(closed: System) -> None:
    time.sleep(0.5)
    secret = closed.key.rpartition("_")[2]

    files: list[Path] = [path for path in closed.data.glob("logs/*.log*") if path.suffix != ".gz"]

    assert files
    assert all(secret not in path.read_text(errors="replace") for path in files)
    assert closed.rows("SELECT 1 FROM log_entries WHERE fields LIKE :s", s=f"%{secret}%") == []
