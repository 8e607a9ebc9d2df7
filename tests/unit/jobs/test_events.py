"""The events of a job, from its history: in order, with ids that stay, and nothing told twice."""

import dataclasses

import orjson
import pytest

from inference.jobs import events
from inference.jobs.model import FINAL, Attempt, JobHistory, JobState, JobView


def history(state=JobState.PENDING, *, attempts=0, generation=1, ended=(), **more):
    """`ended`: (generation, attempt, outcome) of each attempt that is over."""
    view = JobView(
        id="j", service_id="s", state=state, priority=0, attempts=attempts, created_at=1.0, generation=generation,
        started_at=50.0, completed_at=99.0 if state in FINAL else None, worker="w", **more,
    )  # fmt: skip
    return JobHistory(
        job=view,
        claimed_at=40.0,
        attempts=tuple(
            Attempt(
                generation=of, attempt=number, worker="w", claimed_at=10.0 * number, started_at=10.0 * number + 1,
                ended_at=10.0 * number + 2, outcome=outcome, batch_size=1,
                error_code=None if outcome == "completed" else "engine_failed", error_message=None,
            )
            for of, number, outcome in ended
        ),
    )  # fmt: skip


def ids(told):
    return [event.id for event in events.events(told)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (history(), ["1.0.pending"]),
        (history(JobState.RUNNING, attempts=1), ["1.0.pending", "1.1.running"]),
        (
            history(JobState.COMPLETED, attempts=2, ended=[(1, 1, "lost"), (1, 2, "completed")]),
            ["1.0.pending", "1.1.running", "1.1.lost", "1.2.running", "1.2.completed"],
        ),
        (
            history(attempts=1, ended=[(1, 1, "retried")]),
            ["1.0.pending", "1.1.running", "1.1.retried"],
        ),
        (
            history(JobState.DEAD, attempts=1, ended=[(1, 1, "lost")]),
            ["1.0.pending", "1.1.running", "1.1.lost", "1.1.dead"],
        ),
        (history(JobState.CANCELLED), ["1.0.pending", "1.0.cancelled"]),
        (
            history(JobState.EXPIRED, attempts=1, ended=[(1, 1, "retried")]),
            ["1.0.pending", "1.1.running", "1.1.retried", "1.1.expired"],
        ),
        (
            history(JobState.RUNNING, attempts=1, generation=3, ended=[(1, 1, "failed")]),
            ["1.0.pending", "1.1.running", "1.1.failed", "2.0.pending", "3.0.pending", "3.1.running"],
        ),
    ],
)
def test_a_history_is_told_in_order(told, expected):
    assert ids(told) == expected
    places = [event.place for event in events.events(told)]
    assert places == sorted(set(places))


def test_every_cut_goes_on_with_what_follows():
    told = events.events(history(JobState.COMPLETED, attempts=2, ended=[(1, 1, "retried"), (1, 2, "completed")]))

    for number, event in enumerate(told):
        assert events.after(told, events.place_of(event.id)) == told[number + 1 :]
    assert events.after(told, None) == told


def test_the_end_is_told_also_when_the_attempt_that_was_told_was_given_back():
    """Claimed, told as running, given back uncounted, cancelled: its end has the attempt number 0."""
    cancelled = events.events(history(JobState.CANCELLED))

    assert [event.id for event in events.after(cancelled, events.place_of("1.1.running"))] == ["1.0.cancelled"]


def test_an_end_that_no_attempt_tells_of_stands_before_the_next_generation():
    again = events.events(history(generation=2))

    assert [event.id for event in events.after(again, events.place_of("1.0.expired"))] == ["2.0.pending"]


@pytest.mark.parametrize(
    "text", [None, "", "7", "1.1", "1.1.bogus", "a.b.running", "1.1.running.x", "9" * 20, "1.-1.lost"]
)
def test_what_is_no_id_of_ours_has_everything_told(text):
    assert events.place_of(text) is None


def test_times_workers_and_errors_are_told():
    told = history(
        JobState.DEAD, attempts=1, ended=[(1, 1, "lost")], error_code="instance_lost", error_message="It died."
    )

    first, running, lost, dead = events.events(told)

    assert (first.at, running.at, lost.at, dead.at) == (1.0, 11.0, 12.0, 99.0)
    assert (running.worker, lost.error_code, dead.error_message) == ("w", "engine_failed", "It died.")


def test_a_completed_job_shows_no_error_of_an_earlier_attempt():
    told = history(JobState.COMPLETED, attempts=1, error_code="engine_failed", ended=[(1, 1, "completed")])

    assert events.events(told)[-1].error_code is None


def test_the_text_is_an_event_stream():
    event = dataclasses.replace(events.events(history())[0], error_code="e", error_message="two\nlines")

    lines = events.text("j", event).decode().split("\n")

    assert lines[:2] == ["id: 1.0.pending", "event: pending"]
    assert lines[3:] == ["", ""]
    assert orjson.loads(lines[2].removeprefix("data: ")) == {
        "task_id": "j", "event": "pending", "generation": 1, "attempt": 0, "at": "1970-01-01T00:00:01.000000Z",
        "worker": None, "error": {"code": "e", "message": "two\nlines"},
    }  # fmt: skip
