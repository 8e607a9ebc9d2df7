"""Synchronous predictions through a whole system: front, live process, Valkey, worker."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.services import wait_for
from tests.system import BASE, System, kill

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BODY = {"input_data": {"x": [[1, 2, 3, 4]]}}
ALIAS = "/api/inference"


def predict(system: System, path: str, body: Any = BODY) -> httpx.Response:
    return system.http.post(path, json=body)


def test_a_prediction_by_service_and_by_model_and_what_is_refused(system: System):
    service = system.run("double", config={"max_batch": 8})
    model = system.ask("GET", f"/v1/models/{system.show(service)['model_id']}")
    by_service, by_model = f"{BASE}/services/{service}/predict", f"/v1/models/{model['name']}/predict"

    answers = [predict(system, path) for path in (by_service, f"{ALIAS}/services/{service}/predict", by_model)]
    named = predict(system, f"{by_model}?version=1.0.0")
    task = predict(system, f"{by_service}?mode=async")
    refused = {
        "invalid_tensor": predict(system, by_service, {"input_data": {"x": [["a"]]}}),
        "invalid_field": predict(system, by_service, BODY | {"priority": 10}),
        "unknown_field": predict(system, f"{by_service}?version=latest"),
        "service_not_found": predict(system, f"{BASE}/services/{'0' * 32}/predict"),
        "model_not_found": predict(system, "/v1/models/nothing/predict"),
    }
    system.ask("POST", f"{BASE}/services/{service}/stop")
    late = list[int]()
    wait_for(lambda: late.append(predict(system, by_model).status_code) or late[-1] == 409, timeout_s=10, what="409")
    stopped = predict(system, by_model)

    assert [answer.status_code for answer in (*answers, named)] == [200] * 4
    for answer in (*answers, named):
        shown = answer.json()
        assert shown.keys() == {"prediction", "model_version", "latency_ms"}
        assert (shown["prediction"], shown["model_version"]) == ({"y": [[2.0, 4.0, 6.0, 8.0]]}, "1.0.0")
    assert task.status_code == 202
    assert system.task(task.json()["task_id"], wait_s=10)["status"] == "completed"
    assert {code: answer.json()["code"] for code, answer in refused.items()} == {code: code for code in refused}
    assert [answer.status_code for answer in refused.values()] == [422, 422, 422, 404, 404]
    assert stopped.json()["code"] == "wrong_state"
    used = system.rows("SELECT sum(jobs) AS jobs FROM usage WHERE service_id = :s", s=service)
    assert used[0].jobs == 5 + late.count(200), "four predictions and one task, and what the stop let through"


def test_jobs_and_predictions_go_on_beside_each_other_and_who_leaves_is_not_run(system: System):
    service = system.run("double", config={"max_batch": 8}, sleep_ms=20)
    path = f"{BASE}/services/{service}/predict"
    system.submit_many(service, [1.0] * 600)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: predict(system, path), range(64)))
    jobs_left = system.states(service).get("pending", 0)
    leave(system, path, count=40)
    busy = predict(system, path, BODY | {"timeout_s": 0.001})
    done = system.until_done(service, timeout_s=30)

    assert {answer.status_code for answer in answers} == {200}
    assert 0 < jobs_left < 600, "predictions came between the jobs, and jobs went on meanwhile"
    assert (busy.status_code, busy.json()["code"]) == (504, "not_in_time")
    assert done == {"completed": 600}
    wait_for(lambda: b":0\r" in system.say("ZCARD", f"pst:express:{service}"), timeout_s=5, what="an empty lane")
    (used,) = system.rows("SELECT sum(jobs) AS jobs FROM usage WHERE service_id = :s", s=service)
    assert used.jobs < 600 + 64 + 40, "not all of those who left were run"


def leave(system: System, path: str, *, count: int) -> None:
    """Asks so often, and goes away before the answers can be there."""
    url = urlsplit(system.url)
    body = b'{"input_data":{"x":[[1,2,3,4]]}}'
    head = f"POST {path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(count):
        with socket.create_connection((url.hostname or "", url.port or 0)) as connection:
            connection.sendall(head.encode() + body)


def test_a_worker_that_dies_with_predictions_refuses_them_when_it_is_back(system: System):
    service = system.run("double", config={"max_batch": 4}, sleep_ms=1500)
    path, found = f"{BASE}/services/{service}/predict", list[httpx.Response]()
    asking = threading.Thread(target=lambda: found.append(predict(system, path)))

    asking.start()
    time.sleep(0.6)
    for pid in system.pids("engine", service):
        kill(pid)
    asking.join(25)
    later = predict(system, path)

    assert [(answer.status_code, answer.json()["code"]) for answer in found] == [(503, "instance_lost")]
    assert "Retry-After" in found[0].headers
    assert later.status_code == 200
