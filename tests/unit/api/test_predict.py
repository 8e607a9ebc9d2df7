"""Synchronous predictions through both doors: what is asked, and how each end of it is answered."""

import pytest
from werkzeug.test import Client

from api import context
from api.v1 import predict
from inference.jobs.express_model import Told
from inference.serving.model import ServiceState
from tests import fakes
from tests.through_live import ThroughLive

BODY = {"input_data": {"x": [[1.0, 2.0]]}}
BASE = "/api/v1/inference"


class Asker:
    """Answers at once what it was given to answer; for the live process and, blocking, for Flask."""

    def __init__(self):
        self.asked, self.answer = [], {"result": b'{"y":[[2.0,4.0]]}', "model_version": "1.0.0"}

    def told(self, asked):
        self.asked.append(asked)
        return self.answer and Told(id=asked.id, **{"result": None, **self.answer})


class OnTheLoop(Asker):
    async def ask(self, asked, *, wait_s, gone=None):
        return self.told(asked)


class Blocking(Asker):
    def ask(self, asked):
        return self.told(asked)


@pytest.fixture(params=["live", "flask"])
def door(request, application, core):
    """The client and the asker behind it."""
    application.extensions[context.EXTENSION] = core
    asker = OnTheLoop() if request.param == "live" else Blocking()
    application.extensions[predict.EXTENSION] = asker
    yield (Client(ThroughLive(application, asker)) if request.param == "live" else application.test_client()), asker
    del application.extensions[predict.EXTENSION]


def test_the_answer_is_the_prediction_of_the_service_or_of_the_model(door, core, service):
    client, asker = door
    model = core.registry.models.get("default", service.model_id)

    answers = [
        client.post(path, json=BODY | {"priority": 3, "timeout_s": 2.5})
        for path in (f"{BASE}/services/{service.id}/predict", f"/v1/models/{model.name}/predict?version=latest")
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    for answer in answers:
        assert answer.json.pop("latency_ms") >= 0
        assert (answer.json["prediction"], answer.json["model_version"]) == ({"y": [[2.0, 4.0]]}, "1.0.0")
    for asked in asker.asked:
        assert (asked.service_id, asked.priority, asked.rows) == (service.id, 3, 1)
        assert asked.deadline - asked.submitted_at == pytest.approx(2.5)
    assert core.jobs.store.rows == {}


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ({"error_code": "engine_failed"}, 500, "engine_failed"),
        ({"error_code": "output_invalid"}, 500, "output_invalid"),
        ({"error_code": "instance_lost"}, 503, "instance_lost"),
        ({"error_code": "out_of_memory"}, 503, "out_of_memory"),
        ({"error_code": "timed_out"}, 504, "timed_out"),
        ({"error_code": "of a later version"}, 500, "engine_failed"),
    ],
)
def test_what_went_wrong_is_told_with_its_code(door, service, told, status, code):
    client, asker = door
    asker.answer = {"error_message": "It is so.", **told}

    answer = client.post(f"{BASE}/services/{service.id}/predict", json=BODY)

    assert (answer.status_code, answer.json["code"], answer.json["message"]) == (status, code, "It is so.")
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_no_answer_in_its_time_is_told_as_such(door, service):
    client, asker = door
    asker.answer = None

    answer = client.post(f"{BASE}/services/{service.id}/predict", json=BODY | {"timeout_s": 1e-9})

    assert (answer.status_code, answer.json["code"]) == (504, "not_in_time")


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        ({}, "", 422, "invalid_field"),
        (BODY | {"metadata": {}}, "", 422, "invalid_field"),
        (BODY | {"callback_url": "https://example.com"}, "", 422, "invalid_field"),
        ({"input_ref": "upload:x"}, "", 422, "invalid_field"),
        ({"input_data": {"x": [["1"]]}}, "", 422, "invalid_tensor"),
        (BODY, "?mode=later", 422, "invalid_field"),
        (BODY, "?version=1.0.0", 422, "unknown_field"),
    ],
)
def test_what_cannot_be_predicted_is_refused_before_anybody_is_asked(door, service, body, query, status, code):
    client, asker = door

    answer = client.post(f"{BASE}/services/{service.id}/predict{query}", json=body)

    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert asker.asked == []


def test_a_service_that_does_not_run_is_a_conflict(door, core):
    client, asker = door
    service = fakes.add_service(core, state=ServiceState.STOPPED)
    model = core.registry.models.get("default", service.model_id)

    answers = [
        client.post(path, json=BODY)
        for path in (f"{BASE}/services/{service.id}/predict", f"/v1/models/{model.name}/predict")
    ]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(409, "wrong_state")] * 2
    assert asker.asked == []


def test_with_mode_async_it_is_a_task(door, core, service):
    client, asker = door

    answer = client.post(f"{BASE}/services/{service.id}/predict?mode=async", json=BODY | {"metadata": {"a": 1}})

    assert answer.status_code == 202
    assert answer.headers["Location"].endswith(f"/tasks/{answer.json['task_id']}")
    assert list(core.jobs.store.rows) == [answer.json["task_id"]]
    assert asker.asked == []
