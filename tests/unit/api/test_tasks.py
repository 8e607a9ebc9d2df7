"""T3, T4: a task shown, listed, cancelled."""

import dataclasses

import pytest

from api import context
from inference.ids import new_id
from inference.jobs.model import JobState, Pace
from inference.jobs.progress import Progress
from tests import fakes

BASE = "/api/v1/inference"


def submit(client, service, **fields):
    body = {"input_data": {"x": [1.0, 2.0]}, **fields}
    return client.post(f"{BASE}/services/{service.id}/tasks", json=body).json["task_id"]


def test_a_waiting_task_shows_no_result(client, service):
    task_id = submit(client, service, priority=4, metadata={"a": 1})

    shown = client.get(f"{BASE}/tasks/{task_id}").json

    assert "result" not in shown
    assert "error" not in shown
    assert (shown["status"], shown["priority"], shown["metadata"]) == ("pending", 4, {"a": 1})
    assert (shown["latency"], shown["started_at"], shown["completed_at"], shown["attempts"]) == (None, None, None, 0)
    assert shown["created_at"].endswith("Z")


def test_a_completed_task_shows_its_result_as_it_was_stored(client, core, service):
    task_id = submit(client, service)
    core.jobs.store.complete(task_id)

    response = client.get(f"{BASE}/tasks/{task_id}")

    assert b'"result":{"y":[[1.0,2.0]]}' in response.data
    shown = response.json
    assert (shown["status"], shown["latency"], shown["batch_size"]) == ("completed", 0.5, 4)
    assert (shown["model_version"], shown["worker"], shown["attempts"]) == ("1.0.0", "s.0@host", 1)


def test_a_running_task_shows_what_its_engine_reported_and_others_are_not_asked_for(client, core, service):
    task_id = submit(client, service)
    core.progress.reports[task_id] = Progress(generation=1, attempt=2, fraction=0.4, message="step 2", updated_at=5.0)

    waiting, asked = client.get(f"{BASE}/tasks/{task_id}").json, core.progress.asked
    core.jobs.store.change(task_id, state=JobState.RUNNING, attempts=1)
    earlier = client.get(f"{BASE}/tasks/{task_id}").json
    core.jobs.store.change(task_id, attempts=2)
    running = client.get(f"{BASE}/tasks/{task_id}").json
    core.jobs.store.complete(task_id)
    over = client.get(f"{BASE}/tasks/{task_id}").json

    assert ("progress" in waiting, asked, "progress" in earlier, "progress" in over) == (False, 0, False, False)
    assert running["progress"] == {"fraction": 0.4, "message": "step 2", "updated_at": "1970-01-01T00:00:05.000000Z"}


def test_a_waiting_task_shows_its_place_and_no_time_that_nobody_knows(client, core, service):
    first, second = submit(client, service), submit(client, service)
    urgent = submit(client, service, priority=9)

    def shown(task_id):
        body = client.get(f"{BASE}/tasks/{task_id}").json
        return body["queue_position"], body["eta_s"]

    assert [shown(task_id) for task_id in (urgent, first, second)] == [(0, None), (1, None), (2, None)]
    core.jobs.store.complete(first)
    assert shown(first) == (None, None)


def test_a_waiting_task_shows_when_it_may_be_done(client, core, service):
    class Measured:
        def find(self, service):
            return Pace(instances=1, curve=((1, 0.25),))

    client.application.extensions[context.EXTENSION] = dataclasses.replace(
        core, jobs=dataclasses.replace(core.jobs, pace=Measured())
    )
    submit(client, service)

    assert client.get(f"{BASE}/tasks/{submit(client, service)}").json["eta_s"] == 0.75


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.DEAD])
def test_a_task_that_went_wrong_says_why(client, core, service, state):
    task_id = submit(client, service)
    core.jobs.store.change(task_id, state=state, error_code="engine_failed", error_message="It broke.")

    shown = client.get(f"{BASE}/tasks/{task_id}").json

    assert shown["error"] == {"code": "engine_failed", "message": "It broke."}
    assert "result" not in shown


@pytest.mark.parametrize("task_id", ["nope", "0" * 32, "%00", "..%2f"])
def test_an_unknown_task_is_not_found(client, task_id):
    response = client.get(f"{BASE}/tasks/{task_id}")

    assert (response.status_code, response.json["code"]) in ((404, "job_not_found"), (404, "route_not_found"))


def test_flask_never_waits(client, service):
    task_id = submit(client, service)

    assert client.get(f"{BASE}/tasks/{task_id}?wait=60").json["status"] == "pending"


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", ""])
def test_an_impossible_wait_is_refused(client, service, wait):
    task_id = submit(client, service)

    response = client.get(f"{BASE}/tasks/{task_id}?wait={wait}")

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")


def test_lists_are_filtered_and_paged(client, core, service):
    other = fakes.add_service(core, model=fakes.add_model(core, name="other"))
    mine = [submit(client, service, priority=i % 2) for i in range(5)]
    theirs = submit(client, other)
    core.jobs.store.complete(mine[0])

    def ids(query, of=f"{BASE}/tasks"):
        return [task["task_id"] for task in client.get(f"{of}{query}").json["tasks"]]

    of_service = f"{BASE}/services/{service.id}/tasks"
    first = client.get(f"{of_service}?limit=3").json
    second = client.get(f"{of_service}?limit=3&cursor={first['next']}").json

    assert sorted(ids("")) == sorted([*mine, theirs])
    assert ids(f"?service_id={other.id}") == [theirs]
    assert ids("?status=completed") == [mine[0]]
    assert sorted(ids("?priority=1")) == sorted([mine[1], mine[3]])
    assert ids("?error_code=engine_failed") == ids("?worker=w") == ids("?model_version=9") == []
    assert ids("?sort=oldest") == sorted([*mine, theirs])
    assert client.get(f"{BASE}/tasks?sort=latency").json["code"] == "invalid_field"
    assert ids("?from=2100-01-01T00:00:00Z") == []
    assert len(ids("?from=2001-01-01T00:00:00+10:00&to=2100-01-01 00:00")) == 6
    assert len(ids("?from=2001-01-01T00:00:00%2B01:00&to=2100-01-01")) == 6
    assert [task["task_id"] for task in first["tasks"] + second["tasks"]] == sorted(mine, reverse=True)
    assert "next" not in second


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "priority=10",
        "priority=x",
        "limit=0",
        "limit=1001",
        "cursor=x",
        "from=x",
        "from=2026-11-21&to=2026-11-20",
        "to=2026-13-01",
        "colour=1",
    ],
)
def test_a_bad_filter_is_refused_by_name(client, service, query):
    response = client.get(f"{BASE}/services/{service.id}/tasks?{query}")

    assert response.status_code == 422
    assert f"`{query.partition('=')[0]}`" in response.json["message"]


def test_the_list_of_an_unknown_service_is_not_found(client):
    assert client.get(f"{BASE}/services/{new_id()}/tasks").json["code"] == "service_not_found"
    assert client.get(f"{BASE}/tasks?service_id=%00").json["code"] == "service_not_found"
