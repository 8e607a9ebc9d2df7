"""What a drain tells of traced jobs."""

import msgspec
import pytest
import structlog

from inference.jobs.model import Claimant, ClaimedJob, JobState, Moved, Outcome
from inference.jobs.trace import kept
from inference.jobs.traced import DrainTraces, traces_of
from inference.tracing import Context
from tests.fakes_traces import FakeTracer

BY = Claimant(service_id="s", instance_id="i", generation=1, worker="w", model_version="1.0.0")


def job(number: int, trace: Context | None) -> ClaimedJob:
    return ClaimedJob(
        id=f"{number:032x}",
        tenant_id="t",
        attempt=1,
        max_attempts=3,
        priority=0,
        bucket="",
        rows=1,
        crashes=0,
        submitted_at=10.0,
        claimed_at=12.0,
        deadline=None,
        timeout_s=30.0,
        metadata_json=kept(None, trace),
        payload=b"",
    )


def outcome(one: ClaimedJob) -> Outcome:
    return Outcome(job=one, state=JobState.COMPLETED, started_at=13.0, ended_at=14.0, batch_size=3, result=b"1")


TRACES = [Context(f"{number:032x}", f"{number:016x}") for number in (0xA, 0xB)]


def test_a_batch_is_linked_to_the_runs_of_its_traced_jobs_and_they_to_it():
    tracer = FakeTracer()
    traces = DrainTraces(tracer, BY)

    traces.ran([outcome(job(1, TRACES[0])), outcome(job(2, None)), outcome(job(3, TRACES[1]))])

    runs = [span for span in tracer.spans if span.name == "run"]
    (batch,) = [span for span in tracer.spans if span.name == "batch"]
    assert [run.context.trace_id for run in runs] == [trace.trace_id for trace in TRACES]
    assert [run.parent_id for run in runs] == [trace.span_id for trace in TRACES]
    assert list(batch.links) == [run.context for run in runs]
    assert {run.links for run in runs} == {(batch.context,)}
    assert batch.context.trace_id not in {trace.trace_id for trace in TRACES}
    assert (batch.attributes["penstock.tasks"], batch.attributes["penstock.traced"]) == (3, 2)


def test_a_traced_job_tells_its_wait_its_claim_and_how_it_was_written():
    tracer = FakeTracer()
    traces, one = DrainTraces(tracer, BY), job(1, TRACES[0])

    tracer.at_s = 11.9
    traces.begin()
    tracer.at_s = 12.1
    traces.claimed([one, job(2, None)])
    traces.ran([outcome(one)])
    tracer.at_s = 14.0
    traces.begin()
    tracer.at_s = 14.5
    traces.finished([outcome(one)], {one.id: Moved(state=JobState.COMPLETED, completed_at=14.4)})

    told = {span.name: (span.began_s, span.ended_s) for span in tracer.spans}
    assert told == {
        "claim": (11.9, 12.1),
        "queue": (10.0, 12.0),
        "run": (13.0, 14.0),
        "batch": (13.0, 14.0),
        "finish": (14.0, 14.5),
    }
    assert tracer.spans[-1].attributes == {"penstock.state": "completed"}


def test_an_attempt_whose_job_is_somebody_elses_by_now_says_so_and_a_failed_one_its_code():
    tracer = FakeTracer()
    traces, done = DrainTraces(tracer, BY), outcome(job(1, TRACES[0]))
    failed = msgspec.structs.replace(done, state=JobState.FAILED, error_code="engine_failed")

    traces.ran([failed])
    traces.finished([failed], {})

    by_name = {span.name: span for span in tracer.spans}
    assert by_name["run"].error == "engine_failed"
    assert by_name["finish"].attributes == {"penstock.state": "fenced"}


@pytest.mark.parametrize(
    ("jobs", "trace_id"),
    [
        ([job(1, TRACES[0]), job(2, TRACES[0])], TRACES[0].trace_id),
        ([job(1, TRACES[0]), job(2, TRACES[1])], None),
        ([job(1, TRACES[0]), job(2, None)], None),
        ([job(1, None)], None),
    ],
)
def test_what_is_logged_at_the_engine_has_the_trace_that_all_of_its_jobs_are_of(jobs, trace_id):
    with DrainTraces(FakeTracer(), BY).within(jobs):
        within = structlog.contextvars.get_contextvars().get("trace_id")

    assert within == trace_id
    assert "trace_id" not in structlog.contextvars.get_contextvars()


def test_jobs_that_nobody_traces_leave_nothing():
    tracer = FakeTracer()
    traces, one = DrainTraces(tracer, BY), job(1, None)

    traces.claimed([one])
    traces.ran([outcome(one)])
    traces.finished([outcome(one)], {})
    traces.answered([outcome(one)])
    traces_of(None, BY).ran([outcome(job(2, TRACES[0]))])

    assert tracer.spans == []
