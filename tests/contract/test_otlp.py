"""Spans over the wire, to a real server that decodes them; and why it did not take them, where it did not."""

from collections.abc import Iterator

import pytest

from inference.settings import TracesSettings
from inference.telemetry import otlp
from inference.tracing import Context, Kind, Span
from tests.collector import Collector

ONE, OTHER = Context("ab" * 16, "01" * 8), Context("cd" * 16, "02" * 8)
SPAN = Span(
    name="run",
    context=ONE,
    parent_id="03" * 8,
    kind=Kind.CONSUMER,
    began_s=1_700_000_000.25,
    ended_s=1_700_000_000.75,
    attributes={"a": 1, "b": "x", "c": 0.5, "d": True},
    links=(OTHER,),
    error="engine_failed",
)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def sent(url: str, **settings: object) -> str | None:
    """Why it was not taken."""
    export, end = otlp.exporter(TracesSettings(endpoint=url, timeout_s=0.5, **settings), role="engine")
    try:
        return export([SPAN])
    finally:
        end()


def test_a_span_arrives_with_all_that_it_has(collector: Collector):
    reason = sent(collector.url, headers="X-Scope=prod, authorization=Bearer abc")

    (came,) = collector.spans
    assert reason is None
    assert (came.trace_id, came.span_id, came.parent_id) == (ONE.trace_id, ONE.span_id, "03" * 8)
    assert (came.name, came.kind, came.service, came.is_error) == ("run", "consumer", "penstock-engine", True)
    assert (came.began_s, came.ended_s) == (SPAN.began_s, SPAN.ended_s)
    assert came.attributes == {**SPAN.attributes, "error.type": "engine_failed"}
    assert came.links == [OTHER]
    assert (collector.headers["x-scope"], collector.headers["authorization"]) == ("prod", "Bearer abc")


def test_a_collector_that_refuses_says_why(collector: Collector):
    collector.status = 401

    reason = sent(collector.url)

    assert reason is not None
    assert "401" in reason


def test_where_nobody_listens_the_reason_says_so():
    reason = sent("http://127.0.0.1:1")

    assert reason is not None
    assert "timeout" in reason
