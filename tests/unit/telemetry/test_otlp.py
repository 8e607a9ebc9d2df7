"""Spans on their way to a collector: bounded, counted, and from a thread of their own."""

import threading

import pytest

from inference.errors import BadSettings
from inference.settings import TracesSettings
from inference.telemetry import otlp
from inference.tracing import Context, Span

SETTINGS = TracesSettings(endpoint="http://collector:4318", queue=100)


class Sink:
    """What a tracer sends to. `opened`: how often it was made; while `hold` is clear it takes nothing."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        self.opened = 0
        self.is_ended = False
        self.got: list[Span] = []
        self.counts: dict[str, int] = {}
        self.hold = threading.Event()
        self.hold.set()

    def make(self):
        self.opened += 1

        def export(spans):
            self.hold.wait(10)
            self.got += spans
            return self.reason

        return export, lambda: setattr(self, "is_ended", True)

    def count(self, result: str, count: int) -> None:
        self.counts[result] = self.counts.get(result, 0) + count


def tracer_of(sink: Sink, settings: TracesSettings = SETTINGS) -> otlp.OtlpTracer:
    return otlp.OtlpTracer(settings, now_s=lambda: 1.0, make_export=sink.make, count=sink.count)


def span(number: int = 1) -> Span:
    return Span(name="one", context=Context("ab" * 16, f"{number:016x}"), began_s=1.0, ended_s=2.0)


def test_nothing_is_opened_before_the_first_span_and_all_is_sent_at_the_end():
    sink = Sink()
    tracer = tracer_of(sink)
    before = sink.opened, threading.active_count()

    for number in range(5):
        tracer.record(span(number + 1))
    tracer.close()

    assert before == (0, threading.active_count())
    assert (sink.opened, len(sink.got), sink.is_ended) == (1, 5, True)
    assert sink.counts == {"sent": 5}


def test_what_waits_too_long_for_a_collector_is_dropped_and_counted():
    sink = Sink()
    sink.hold.clear()
    tracer = tracer_of(sink)

    for number in range(130):
        tracer.record(span(number + 1))
    sink.hold.set()
    tracer.close()

    assert sink.counts == {"dropped": 30, "sent": 100}


def test_what_a_collector_refuses_is_counted_and_not_sent_again():
    sink = Sink(reason="401")
    tracer = tracer_of(sink)

    tracer.record(span())
    tracer.close()

    assert sink.counts == {"failed": 1}
    assert len(sink.got) == 1


@pytest.mark.parametrize(("sample", "traced"), [(0.0, 0), (1.0, 200)])
def test_a_share_of_requests_without_a_traceparent_is_traced(sample, traced):
    tracer = tracer_of(Sink(), TracesSettings(endpoint="http://c", sample=sample))

    begun = [tracer.begin(None) for _ in range(200)]

    assert len([one for one in begun if one is not None]) == traced


def test_who_sends_a_traceparent_decides_whatever_the_share_is():
    parent = Context("ab" * 16, "cd" * 8)
    never = tracer_of(Sink(), TracesSettings(endpoint="http://c", sample=0.0))
    always = tracer_of(Sink(), TracesSettings(endpoint="http://c", sample=1.0))

    wanted = never.begin(f"00-{parent.trace_id}-{parent.span_id}-01")

    assert wanted is not None
    assert (wanted[0].trace_id, wanted[1]) == (parent.trace_id, parent.span_id)
    assert wanted[0].span_id != parent.span_id
    assert always.begin(f"00-{parent.trace_id}-{parent.span_id}-00") is None


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
    ],
)
def test_an_address_without_a_path_gets_that_of_the_protocol(endpoint, url):
    assert otlp.url_of(endpoint) == url


def test_without_an_endpoint_there_is_no_tracer_and_without_the_library_a_sentence(monkeypatch):
    found = otlp.tracer(TracesSettings(), role="api", now_s=lambda: 1.0, count=lambda *_: None)
    monkeypatch.setattr(otlp, "EXPORTER", "opentelemetry_that_is_not_there")

    with pytest.raises(BadSettings, match=r"install the extra 'traces'"):
        otlp.tracer(SETTINGS, role="api", now_s=lambda: 1.0, count=lambda *_: None)

    assert found is None
