"""A whole system whose answers are shared: many equal tasks make few runs, and another version begins anew."""

import os
from typing import Any

import pytest

from tests.services import wait_for
from tests.system import BASE, System

pytestmark = [pytest.mark.e2e]

BODY = {"input_data": {"x": [[1.0, 2.0, 3.0, 4.0]]}}
DOUBLED = {"y": [[2.0, 4.0, 6.0, 8.0]]}
MANY = 100


def register(system: System, version: str) -> str:
    body = {
        "name": f"shared-{os.getpid()}",
        "version": version,
        "framework": "double",
        "model_path": str(system.model),
        "deployment_config": {"engine": {"sleep_ms": 400}},
    }
    return str(system.ask("POST", "/v1/models/register", body, expect=201)["model_id"])


def send(system: System, service: str) -> dict[str, Any]:
    return dict(system.ask("POST", f"{BASE}/services/{service}/tasks", BODY, expect=202))


def runs(system: System, service: str) -> int:
    counted = "SELECT count(*) FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE j.service_id = :s"
    return int(system.rows(counted, s=service)[0][0])


def test_a_hundred_equal_tasks_make_few_runs_and_a_new_version_begins_anew(system: System):
    service = system.create(register(system, "1.0.0"), coalesce=True)
    system.begin(service)
    system.until_ready(service)

    many = {"input_data_list": [BODY["input_data"]] * MANY}
    sent = system.ask("POST", f"{BASE}/services/{service}/tasks/batch", many, expect=202)["task_ids"]
    system.until_done(service, timeout_s=20)
    tasks = [system.task(one) for one in sent]
    at_first = runs(system, service)
    system.ask("PATCH", f"{BASE}/services/{service}", {"config": {"cache_ttl_s": 60}})
    wait_for(lambda: "cached" in send(system, service), timeout_s=10, what="a kept answer")
    system.until_done(service, timeout_s=10)
    kept = system.ask("POST", f"{BASE}/services/{service}/predict", BODY)
    before = runs(system, service)
    for _ in range(10):
        assert send(system, service)["status"] == "completed"
    shown = system.ask("GET", f"{BASE}/services/{service}/cache")

    assert {one["status"] for one in tasks} == {"completed"}
    assert all(one["result"] == DOUBLED for one in tasks)
    assert 1 <= at_first <= 3
    assert sum("coalesced" in one for one in tasks) == MANY - at_first
    assert (kept["prediction"], kept["cached"], kept["model_version"]) == (DOUBLED, True, "1.0.0")
    assert runs(system, service) == before
    assert (shown["entries"], shown["hits"] >= 11) == (1, True)

    system.ask("PATCH", f"{BASE}/services/{service}", {"model_id": register(system, "1.1.0")})
    anew = send(system, service)
    ended = system.task(anew["task_id"], wait_s=20)

    assert (anew["status"], "cached" in anew) == ("pending", False)
    assert (ended["status"], "cached" in ended, ended["result"]) == ("completed", False, DOUBLED)
