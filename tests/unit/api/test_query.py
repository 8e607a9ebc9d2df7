"""Queries say each thing once, in words that the documentation knows."""

import pytest

from inference.ids import new_id

BASE = "/api/v1/inference"
LISTS = [f"{BASE}/services", f"{BASE}/tasks", "/v1/models", "/v1/deployments"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["1_0", "+5", " 5", "٣", "5.0", "", "9" * 5000])
def test_a_number_is_plain_digits(client, path, limit):
    response = client.get(path, query_string={"limit": limit})

    assert (response.status_code, response.json["details"]) == (422, {"field": "limit"})


@pytest.mark.parametrize("path", LISTS)
def test_a_parameter_that_stands_twice_is_refused(client, path):
    response = client.get(f"{path}?limit=5&limit=7")

    assert response.status_code == 422
    assert response.json["message"] == "The query parameter `limit` stands twice; keep one."


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("wait=1&wait=2", "invalid_field"),
        ("wait=inf", "invalid_field"),
        ("wait=1_0", "invalid_field"),
        ("wiat=60", "unknown_field"),
    ],
)
def test_what_a_task_is_asked_must_be_known_and_clear(client, query, code):
    response = client.get(f"{BASE}/tasks/{new_id()}?{query}")

    assert (response.status_code, response.json["code"]) == (422, code)


@pytest.mark.parametrize("query", ["priority=10", "priority=x", "priority=", "priority=1&priority=2", "prority=1"])
def test_a_batch_is_refused_for_its_query_whatever_its_form(client, core, service, query):
    path = f"{BASE}/services/{service.id}/tasks/batch?{query}"

    as_list = client.post(path, json={"input_data_list": [{"x": [1, 2]}]})
    as_lines = client.post(path, data=b'{"input_data": {"x": [1, 2]}}\n', content_type="application/x-ndjson")

    assert (as_list.status_code, as_lines.status_code) == (422, 422)
    assert core.jobs.store.rows == {}


def test_the_priority_of_the_query_is_that_of_tasks_which_name_none(client, core, service):
    path = f"{BASE}/services/{service.id}/tasks/batch?priority=7"

    client.post(path, json={"input_data_list": [{"x": [1, 2]}]})
    client.post(path, json={"input_data_list": [{"x": [1, 2]}], "priority": 2})

    assert sorted(job.priority for job in core.jobs.store.rows.values()) == [2, 7]


@pytest.mark.parametrize("deadline", ["", "20991120", "2099-11-20 12", "2099-W47-5", "12:00"])
def test_a_deadline_has_one_form(client, core, service, deadline):
    body = {"input_data": {"x": [1, 2]}, "deadline": deadline}

    response = client.post(f"{BASE}/services/{service.id}/tasks", json=body)

    assert (response.status_code, response.json["details"]) == (422, {"field": "deadline"})
    assert core.jobs.store.rows == {}


@pytest.mark.parametrize("path", ["pool", "prices", "me", "workspaces", "alerts/silences", "webhooks/secret"])
def test_where_nothing_can_be_asked_a_parameter_is_unknown(client, path):
    response = client.get(f"{BASE}/{path}?x=1")

    assert (response.status_code, response.json["code"]) == (422, "unknown_field")
    assert response.json["details"] == {"field": "x"}


def test_an_act_with_a_parameter_that_nobody_reads_is_not_carried_out(client, core, service):
    response = client.delete(f"{BASE}/services/{service.id}?force=true")

    assert (response.status_code, response.json["details"]) == (422, {"field": "force"})


def test_a_cursor_of_devices_is_one_that_was_given(client):
    response = client.get(f"{BASE}/gpus?cursor=zzz")

    assert (response.status_code, response.json["details"]) == (422, {"field": "cursor"})


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "budgets", '{"hard": 1e999}', "hard"),
        ("PUT", "prices", '{"prices": [{"device_kind": "cpu", "per_hour": -1e999}]}', "prices.0.per_hour"),
        ("POST", "services", '{"model_id": "x", "config": {"timeout_s": 1e400}}', "config.timeout_s"),
    ],
)
def test_a_number_that_would_be_infinite_is_refused_by_its_field(client, method, path, body, field):
    response = client.open(f"{BASE}/{path}", method=method, data=body, content_type="application/json")

    assert (response.status_code, response.json["details"]) == (422, {"field": field})
    assert response.json["message"] == f"The field `{field}` is a number that is too large."
