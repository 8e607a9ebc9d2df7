"""What is traced of requests, through Flask; the live process does the same around its own application."""

import asyncio
import dataclasses
import functools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.app import create_app
from api.live.aside import aside
from api.live.traced import Traced
from inference import waiting
from inference.errors import Unauthenticated
from tests import fakes
from tests.fakes_traces import FakeTracer

GOOD = {"input_data": {"x": [1.0, 2.0]}}
TRACE, PARENT = "ab" * 16, "cd" * 8
SCOPE = {"type": "http", "method": "POST", "path": "/v1/uploads", "headers": []}
SENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(scope="module")
def traced():
    """A core that traces, and its application."""
    made = fakes.make_core()
    core = dataclasses.replace(made, jobs=dataclasses.replace(made.jobs, traces=FakeTracer()))
    yield core, create_app(core)
    made.close()


@pytest.fixture
def tracer(traced):
    traced[0].jobs.traces.spans.clear()
    return traced[0].jobs.traces


@pytest.fixture
def client(traced, tracer):
    return traced[1].test_client()


@pytest.fixture(scope="module")
def url(traced):
    return f"/api/v1/inference/services/{fakes.add_service(traced[0]).id}/tasks"


def test_a_request_is_a_span_beneath_its_clients_with_its_steps_beneath_it(client, url, tracer):
    answer = client.post(url, json=GOOD, headers=SENT)

    prepare, commit, request = tracer.spans
    assert answer.status_code == 202
    assert (request.name, request.parent_id) == ("POST /api/v1/inference/services/{id}/tasks", PARENT)
    assert [(one.name, one.parent_id) for one in (prepare, commit)] == [
        ("prepare", request.context.span_id),
        ("commit", request.context.span_id),
    ]
    assert {one.context.trace_id for one in tracer.spans} == {TRACE}
    assert request.attributes["http.response.status_code"] == 202


def test_a_task_shows_its_trace_and_its_own_metadata(client, url):
    sent = client.post(url, json={**GOOD, "metadata": {"a": 1}}, headers=SENT).json
    plain = client.post(url, json={**GOOD, "metadata": {"a": 1}}).json

    shown = client.get(f"/api/v1/inference/tasks/{sent['task_id']}").json
    other = client.get(f"/api/v1/inference/tasks/{plain['task_id']}").json

    assert (shown["trace_id"], shown["metadata"]) == (TRACE, {"a": 1})
    assert ("trace_id" in other, other["metadata"]) == (False, {"a": 1})


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_all_tasks_of_a_batch_belong_to_the_trace_of_their_request(client, url, kind):
    inputs = [GOOD["input_data"]] * 3
    lines = "".join(json.dumps({"input_data": one}) + "\n" for one in inputs)
    text = lines if kind == "application/x-ndjson" else json.dumps({"input_data_list": inputs})

    ids = client.post(f"{url}/batch", data=text, content_type=kind, headers=SENT).json["task_ids"]

    assert [client.get(f"/api/v1/inference/tasks/{one}").json["trace_id"] for one in ids] == [TRACE] * 3


def test_a_refusal_names_the_trace_of_its_request_and_of_others_says_nothing(client, url):
    traced, plain = client.post(url, json={}, headers=SENT), client.post(url, json={})

    assert traced.json["details"]["trace_id"] == TRACE
    assert "trace_id" not in plain.json["details"]


def test_who_has_no_good_key_and_who_asks_for_health_is_not_traced(client, url, tracer, traced, monkeypatch):
    def refuse(*_, **__):
        raise Unauthenticated("no")

    client.get("/healthz", headers=SENT)
    monkeypatch.setattr(type(traced[0].door), "enter", refuse)
    refused = client.post(url, json=GOOD, headers=SENT)

    assert refused.status_code == 401
    assert tracer.spans == []


class SlowClock(FakeTracer):
    """Its first look at the clock waits."""

    def now_s(self):
        waiting.refuse_on_loop()
        return super().now_s()


def test_a_clock_that_must_be_waited_for_first_refuses_no_request_of_the_live_process():
    tracer, sent = SlowClock(is_eager=True), []

    async def inner(scope, receive, send):
        waiting.allow_again()  # from now on it is known
        await send({"type": "http.response.start", "status": 202})

    async def scenario():
        with ThreadPoolExecutor(1) as threads:
            application = Traced(inner, tracer, functools.partial(aside, threads))
            waiting.forbid_here()
            await application(SCOPE, None, send)

    async def send(message):
        sent.append(message["status"])

    try:
        asyncio.run(scenario())
    finally:
        waiting.allow_again()

    assert sent == [202]
    assert [span.name for span in tracer.spans] == ["POST /v1/uploads"]
