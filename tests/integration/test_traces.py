"""Traces of a whole system, as a collector gets them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector import Collector
from tests.integration.test_webhooks import Receiver
from tests.system import BASE, System, environ_of, maps_of, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROTOBUF = "google/_upb"
"""What a process has mapped that has loaded OpenTelemetry's exporter."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[System]:
    """A system that traces what its clients want traced, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="penstock-system-", ignore_cleanup_errors=True) as name:
        settings = {"TRACES__ENDPOINT": collector.url, "TRACES__SAMPLE": "0", "TRACES__HEADERS": "x-token=abc"}
        system = System(Path(name), **settings).start()
        yield system
        system.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def sent(flags: str = "01") -> tuple[str, str, dict[str, str]]:
    """A trace that a client has begun: its id, its span's, and the headers that say so."""
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    return trace_id, span_id, {"traceparent": f"00-{trace_id}-{span_id}-{flags}"}


def submit(system: System, service: str, headers: dict[str, str], **fields: object) -> str:
    body = {"input_data": {"x": [[1.0] * 4]}, **fields}
    return system.ask("POST", f"{BASE}/services/{service}/tasks", body, expect=202, headers=headers)["task_id"]


def test_a_trace_goes_on_from_the_client_to_the_webhook(traced: System, collector: Collector, receiver: Receiver):
    system = traced
    service = system.run("double", sleep_ms=150)
    untraced = submit(system, service, {})
    trace_id, parent, headers = sent()
    others = [sent() for _ in range(2)]

    task_id = submit(system, service, headers, metadata={"mine": 1}, callback_url=receiver.url)
    mates = [submit(system, service, own) for _, _, own in others]
    unwanted = submit(system, service, sent("00")[2])
    shown = system.task(task_id, wait_s=10)
    spans = collector.until(trace_id, {"prepare", "commit", "queue", "claim", "run", "finish", "webhook"})
    system.task(mates[-1], wait_s=10)

    assert (shown["trace_id"], shown["metadata"], shown["status"]) == (trace_id, {"mine": 1}, "completed")
    http = spans[f"POST {BASE}/services/{{id}}/tasks"]
    assert (http.parent_id, http.kind, http.service) == (parent, "server", "penstock-live")
    assert {one.parent_id for one in spans.values() if one is not http} == {http.span_id}
    assert http.began_s <= spans["queue"].began_s <= spans["run"].began_s <= spans["finish"].ended_s
    assert spans["run"].ended_s - spans["run"].began_s >= 0.15
    assert spans["run"].service == "penstock-engine"
    assert spans["run"].attributes["penstock.task_id"] == task_id
    assert receiver.got[0][0]["traceparent"] == f"00-{trace_id}-{spans['webhook'].span_id}-01"
    assert spans["webhook"].service == "penstock-control"
    # A batch is a trace of its own, linked to the runs of its tasks, and those to it.
    for mate, _, _ in others:
        collector.until(mate, {"run"})
    runs = [collector.of(one)["run"] for one in (trace_id, *(mate for mate, _, _ in others))]
    for run in runs:
        (link,) = run.links
        wait_for(lambda at=link: collector.of(at[0]), timeout_s=5, what="the batch")
        batch = collector.of(link[0])["batch"]
        assert (run.trace_id, run.span_id) in batch.links
        assert batch.attributes["penstock.traced"] == len(batch.links)
    # Nobody else is traced, and nothing says so.
    assert "trace_id" not in system.task(untraced)
    assert "trace_id" not in system.task(unwanted, wait_s=10)
    known = {trace_id, *(mate for mate, _, _ in others), *(link[0] for run in runs for link in run.links)}
    assert {span.trace_id for span in collector.spans} == known
    assert collector.paths == {"/v1/traces"}
    assert collector.headers["x-token"] == "abc"


def test_a_prediction_and_a_refusal_are_traced_and_spans_are_counted(traced: System, collector: Collector):
    system, service = traced, traced.run("double")
    trace_id, _, headers = sent()
    path = f"{BASE}/services/{service}/predict"

    system.ask("POST", path, {"input_data": {"x": [[1.0] * 4]}}, headers=headers)
    refused = system.ask("POST", path, {"input_data": {}}, expect=422, headers=headers)
    spans = collector.until(trace_id, {f"POST {BASE}/services/{{id}}/predict", "queue", "run", "answer"})

    assert spans["run"].ended_s <= spans["answer"].ended_s
    assert refused["details"]["trace_id"] == trace_id
    assert any(PROTOBUF in maps_of(pid) for pid in system.pids("live"))
    wait_for(lambda: system.metric("penstock_spans_total") >= 10, timeout_s=5, what="counted spans")


def test_the_log_of_a_failed_task_names_its_trace(traced: System, collector: Collector):
    system = traced
    service = system.run("raise", config={"max_attempts": 1})
    trace_id, _, headers = sent()

    task_id = submit(system, service, headers, input_data={"x": [[555.0] * 4]})
    shown = system.task(task_id, wait_s=10)
    spans = collector.until(trace_id, {"run", "finish"})

    assert shown["status"] == "failed"
    assert spans["run"].is_error
    assert spans["run"].attributes["error.type"] == shown["error"]["code"]

    def entries() -> list[dict]:
        return system.ask("GET", f"{BASE}/services/{service}/logs?task_id={task_id}")["logs"]

    wait_for(entries, timeout_s=5, what="the entry")
    assert entries()[0]["trace_id"] == trace_id


def test_a_system_without_traces_has_nothing_of_them_in_memory(system: System):
    service = system.run("double")

    shown = system.task(submit(system, service, sent()[2]), wait_s=10)

    assert "trace_id" not in shown
    pids = system.everything()
    assert len([pid for pid in pids if environ_of(pid)]) > 4
    assert [pid for pid in pids if PROTOBUF in maps_of(pid)] == []
