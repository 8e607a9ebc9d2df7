"""Traces: what a header says, where a job keeps it, and the steps of a request."""

import structlog
from hypothesis import given
from hypothesis import strategies as st

from inference import tracing
from inference.jobs import trace
from inference.tracing import Context
from tests.fakes_traces import FakeTracer

HEX = "0123456789abcdef"
contexts = st.builds(
    Context,
    st.text(HEX, min_size=32, max_size=32).filter(lambda text: text.strip("0")),
    st.text(HEX, min_size=16, max_size=16).filter(lambda text: text.strip("0")),
)


@given(contexts)
def test_what_is_sent_on_is_read_as_it_was(context):
    assert tracing.parse(tracing.traceparent(context)) == (context, True)


@given(contexts, st.integers(0, 255), st.integers(0, 254))
def test_the_flag_decides_also_beside_others_and_of_later_versions(context, flags, version):
    found = tracing.parse(f"{version:02x}-{context.trace_id}-{context.span_id}-{flags:02x}")

    assert found == (context, bool(flags & 1))


@given(st.text(max_size=80))
def test_what_is_no_traceparent_counts_as_not_sent(text):
    found = tracing.parse(text)

    assert found is None or tracing.traceparent(found.context)[3:52] in text


def test_ids_of_zeros_a_forbidden_version_and_capitals_are_refused():
    good = f"00-{'ab' * 16}-{'cd' * 8}-01"
    bad = [
        good.replace("ab", "00"),
        good.replace("cd", "00"),
        good.replace("ab", "AB"),
        f"ff{good[2:]}",
        f"{good}-more",
        good[:-1],
        "",
    ]

    assert tracing.parse(good) is not None
    assert [tracing.parse(text) for text in bad] == [None] * len(bad)
    assert tracing.parse(f"01{good[2:]}-more") is not None


@given(contexts, st.none() | st.sampled_from(["{}", '{"a":1}', '{"a":{"b":[]},"c":"}"}']))
def test_a_trace_kept_with_metadata_is_found_and_hidden(context, metadata):
    kept = trace.kept(metadata, context)

    assert trace.trace_of(kept) == context
    assert trace.shown(kept) == metadata


def test_metadata_without_a_trace_is_what_it_was():
    metadata = '{"a":1}'

    assert trace.kept(metadata, None) is metadata
    assert trace.shown(metadata) is metadata
    assert (trace.trace_of(metadata), trace.trace_of(None), trace.shown(None)) == (None, None, None)


def test_within_a_span_log_entries_have_its_trace_and_after_it_no_more():
    context = Context("ab" * 16, "cd" * 8)

    with tracing.entered(context):
        within = tracing.current(), structlog.contextvars.get_contextvars().get("trace_id")

    assert within == (context, "ab" * 16)
    assert tracing.current() is None
    assert "trace_id" not in structlog.contextvars.get_contextvars()


def test_steps_follow_one_another_beneath_the_span_of_the_request():
    tracer, context = FakeTracer(), Context("ab" * 16, "cd" * 8)

    with tracing.entered(context):
        steps = tracing.steps(tracer)
        tracer.at_s = 1_001.0
        steps.done("prepare")
        tracer.at_s = 1_003.0
        steps.done("commit", tasks=2)

    first, second = tracer.spans
    assert [(one.name, one.began_s, one.ended_s) for one in tracer.spans] == [
        ("prepare", 1_000.0, 1_001.0),
        ("commit", 1_001.0, 1_003.0),
    ]
    assert {one.parent_id for one in tracer.spans} == {"cd" * 8}
    assert first.context != second.context
    assert second.attributes == {"tasks": 2}


def test_outside_of_a_traced_request_there_are_no_steps():
    assert tracing.steps(FakeTracer()) is None
    with tracing.entered(Context("ab" * 16, "cd" * 8)):
        assert tracing.steps(None) is None
