"""Cancel, retry, requeue and re-prioritise a task, and the list of its attempts."""

import pytest

from inference.jobs.model import Attempt, JobState

BASE = "/api/v1/inference"


def submit(client, service, **fields):
    body = {"input_data": {"x": [1.0, 2.0]}, **fields}
    return client.post(f"{BASE}/services/{service.id}/tasks", json=body).json["task_id"]


@pytest.mark.parametrize("body", [b"", b"{}", b" \n"])
def test_a_waiting_task_is_cancelled_at_once(client, service, body):
    task_id = submit(client, service)

    response = client.post(f"{BASE}/tasks/{task_id}/cancel", data=body)

    assert (response.status_code, response.json) == (200, {"task_id": task_id, "status": "cancelled"})
    assert client.get(f"{BASE}/tasks/{task_id}").json["status"] == "cancelled"


def test_a_running_task_is_not_called_cancelled_before_it_is(client, core, service):
    task_id = submit(client, service)
    core.jobs.store.change(task_id, state=JobState.RUNNING)

    assert client.post(f"{BASE}/tasks/{task_id}/cancel").json["status"] == "running"


def test_a_finished_task_cannot_be_cancelled(client, core, service):
    task_id = submit(client, service)
    core.jobs.store.complete(task_id)

    response = client.post(f"{BASE}/tasks/{task_id}/cancel", json={})

    assert (response.status_code, response.json["code"]) == (409, "wrong_state")


@pytest.mark.parametrize("verb", ["cancel", "retry", "requeue"])
def test_calls_without_a_body_take_no_fields(client, service, verb):
    response = client.post(f"{BASE}/tasks/{submit(client, service)}/{verb}", json={"why": "x"})

    assert (response.status_code, response.json["code"]) == (422, "unknown_field")


@pytest.mark.parametrize("body", [b"", b"{}"])
@pytest.mark.parametrize("verb", ["retry", "requeue"])
def test_a_task_that_went_wrong_waits_again_under_a_new_generation(client, core, service, verb, body):
    task_id = submit(client, service, priority=4)
    core.jobs.store.change(task_id, state=JobState.DEAD, attempts=3, completed_at=1.0, error_code="engine_failed")
    rung = len(core.jobs.bell.rung)

    response = client.post(f"{BASE}/tasks/{task_id}/{verb}", data=body)

    assert (response.status_code, response.json) == (
        200,
        {"task_id": task_id, "status": "pending", "priority": 4, "generation": 2},
    )
    shown = client.get(f"{BASE}/tasks/{task_id}").json
    assert (shown["status"], shown["generation"], shown["attempts"], "error" in shown) == ("pending", 2, 0, False)
    assert core.jobs.bell.rung[rung:] == [service.id]


def test_a_completed_task_is_requeued_and_not_retried(client, core, service):
    task_id = submit(client, service)
    core.jobs.store.complete(task_id)

    retried = client.post(f"{BASE}/tasks/{task_id}/retry")
    requeued = client.post(f"{BASE}/tasks/{task_id}/requeue")

    assert (retried.status_code, retried.json["code"]) == (409, "wrong_state")
    assert retried.json["details"] == {"state": "completed", "allowed": ["cancelled", "dead", "expired", "failed"]}
    assert (requeued.status_code, requeued.json["generation"]) == (200, 2)


@pytest.mark.parametrize("verb", ["retry", "requeue"])
@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING])
def test_a_task_that_is_not_over_is_not_run_again(client, core, service, verb, state):
    task_id = submit(client, service)
    core.jobs.store.change(task_id, state=state)

    response = client.post(f"{BASE}/tasks/{task_id}/{verb}")

    assert (response.status_code, response.json["details"]["state"]) == (409, state.value)


def test_a_waiting_task_is_given_another_priority_and_its_place(client, core, service):
    task_id = submit(client, service)

    response = client.patch(f"{BASE}/tasks/{task_id}", json={"priority": 9})

    assert (response.status_code, response.json) == (
        200,
        {"task_id": task_id, "status": "pending", "priority": 9},
    )
    created_at = core.jobs.store.views_by_id[task_id].created_at
    assert core.jobs.store.moved == created_at - 9 * service.config.head_start_s
    assert client.get(f"{BASE}/tasks/{task_id}").json["priority"] == 9


@pytest.mark.parametrize("body", [{}, {"priority": 10}, {"priority": "9"}, {"priority": None}, {"priority": 1, "x": 1}])
def test_a_bad_priority_is_refused(client, service, body):
    response = client.patch(f"{BASE}/tasks/{submit(client, service)}", json=body)

    assert response.status_code == 422


def test_the_priority_of_a_task_that_left_the_queue_stays(client, core, service):
    task_id = submit(client, service)
    core.jobs.store.change(task_id, state=JobState.RUNNING)

    response = client.patch(f"{BASE}/tasks/{task_id}", json={"priority": 9})

    assert (response.status_code, response.json["details"]["allowed"]) == (409, ["pending"])


@pytest.mark.parametrize(("method", "path"), [("post", "/retry"), ("post", "/requeue"), ("get", "/attempts")])
def test_what_is_not_there_cannot_be_changed(client, method, path):
    for task_id in ("nope", "0" * 32):
        assert getattr(client, method)(f"{BASE}/tasks/{task_id}{path}").status_code == 404


def test_every_attempt_is_listed_with_its_error_and_the_one_under_way(client, core, service):
    task_id = submit(client, service)
    core.jobs.store.attempts_by_id[task_id] = [
        Attempt(
            generation=1,
            attempt=1,
            worker="w",
            claimed_at=1.0,
            started_at=2.0,
            ended_at=3.0,
            outcome="failed",
            batch_size=4,
            error_code="engine_failed",
            error_message="It broke.",
        )
    ]
    core.jobs.store.change(task_id, state=JobState.RUNNING, generation=2, attempts=1, worker="v", started_at=5.0)

    shown = client.get(f"{BASE}/tasks/{task_id}/attempts").json

    first, second = shown.pop("attempts")
    assert shown == {"task_id": task_id, "status": "running", "generation": 2}
    assert (first["generation"], first["attempt"], first["outcome"], first["worker"]) == (1, 1, "failed", "w")
    assert first["error"] == {"code": "engine_failed", "message": "It broke."}
    assert first["ended_at"] == "1970-01-01T00:00:03.000000Z"
    assert (second["generation"], second["attempt"], second["outcome"], second["ended_at"]) == (2, 1, "running", None)
    assert "error" not in second


def cancel_many(client, service, body):
    return client.post(f"{BASE}/services/{service.id}/tasks/cancel", json=body)


def test_the_tasks_that_a_filter_describes_are_cancelled(client, core, service):
    waits, runs, other = (submit(client, service) for _ in range(3))
    core.jobs.store.change(runs, state=JobState.RUNNING)

    response = cancel_many(client, service, {"filter": {"task_ids": [waits, runs, runs, "f" * 32]}})

    assert (response.status_code, response.json) == (200, {"cancelled": 1, "requested": 1, "complete": True})
    assert core.jobs.store.noted == [(1, 1)]
    assert client.get(f"{BASE}/tasks/{other}").json["status"] == "pending"


def test_a_filter_is_passed_on_as_it_was_said(client, core, service):
    times = {"created_from": "2026-11-20T12:00:00Z", "created_to": "2026-11-20T13:00:00+01:00"}

    cancel_many(client, service, {"filter": {"status": "pending", "priority": 3, **times}})

    (which,) = core.jobs.store.selections
    assert (which.service_id, which.state, which.priority) == (service.id, JobState.PENDING, 3)
    assert which.created_from == which.created_to == 1795176000.0
    assert which.job_ids is None


def test_all_tasks_are_cancelled_when_that_is_said(client, service):
    submit(client, service)

    assert cancel_many(client, service, {"all": True}).json["cancelled"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": {}},
        {"all": False},
        {"filter": {"priority": 1}, "all": True},
        {"filter": {}, "all": True},
        {"filter": {"status": "completed"}},
        {"filter": {"colour": 1}},
        {"filter": {"task_ids": []}},
        {"filter": {"created_from": "yesterday"}},
        {"filter": {"priority": None}},
        {"filter": None},
        {"all": True, "x": 1},
    ],
)
def test_a_body_that_does_not_say_what_to_cancel_cancels_nothing(client, core, service, body):
    task_id = submit(client, service)

    response = cancel_many(client, service, body)

    assert response.status_code == 422
    assert client.get(f"{BASE}/tasks/{task_id}").json["status"] == "pending"
    assert core.jobs.store.selections == []


def test_tasks_of_an_unknown_service_cannot_be_cancelled(client):
    for service_id in ("nope", "0" * 32):
        response = client.post(f"{BASE}/services/{service_id}/tasks/cancel", json={"all": True})
        assert (response.status_code, response.json["code"]) == (404, "service_not_found")
