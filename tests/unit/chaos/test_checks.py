"""Each check of the history checker is shown to fire on what it is for, and to leave a good history alone."""

import dataclasses
from typing import Any

import pytest

from tests.chaos.checker import judge
from tests.chaos.history import Attempt, Effect, Event, History, Job, Life, Move


def submit(ids: list[str], values: list[float], **changes: Any) -> dict[str, Any]:
    plain = {"op": "submit", "at": 1.0, "tenant": "t", "status": 202, "key": None, "ids": ids, "values": values}
    return {**plain, **changes}


def job(job_id: str = "a", value: float = 1.0, **changes: Any) -> Job:
    plain = Job(
        id=job_id,
        tenant_id="t",
        service_id="s",
        state="completed",
        generation=1,
        attempt=1,
        max_attempts=3,
        value=value,
        callback_url="http://example.com/",
    )
    return dataclasses.replace(plain, **changes)


def attempt(job_id: str = "a", number: int = 1, outcome: str = "completed", generation: int = 1) -> Attempt:
    return Attempt(job_id=job_id, generation=generation, attempt=number, instance_id="i", outcome=outcome)


def move(seq: int, state: str, before: str | None, job_id: str = "a", **changes: Any) -> Move:
    plain = Move(
        seq=seq,
        at=float(seq),
        job_id=job_id,
        service_id="s",
        before=before,
        state=state,
        generation=1,
        attempt=0 if state == "pending" else 1,
        is_claimable=state == "pending",
        is_cancel_asked=False,
        order_key=1.0,
        instance_id="i" if state in ("running", "completed", "failed") else None,
        instance_generation=1 if state in ("running", "completed", "failed") else None,
    )
    return dataclasses.replace(plain, **changes)


def event(job_id: str = "a", **changes: Any) -> Event:
    plain = Event(
        id=f"{job_id}.1.finished",
        job_id=job_id,
        generation=1,
        event="finished",
        job_state="completed",
        state="delivered",
    )
    return dataclasses.replace(plain, **changes)


def good(**changes: Any) -> History:
    """One job that was sent with a key, claimed, run and completed, and of which a webhook tells."""
    plain: dict[str, Any] = {
        "jobs": [job()],
        "attempts": [attempt()],
        "results": {"a": {"y": [[2.0]]}},
        "outbox": [event()],
        "usage": {("t", "s"): 1},
        "moves": [move(1, "pending", None), move(2, "running", "pending"), move(3, "completed", "running")],
        "lives": [Life(instance_id="i", generation=1, pid=7)],
        "effects": [Effect(value=1.0, pid=7)],
        "client": [
            submit(["a"], [1.0], key="k", answers=[{"y": [[2.0]]}]),
            {"op": "read", "at": 4.0, "tenant": "t", "status": 200, "id": "a", "state": "completed", "generation": 1},
            {"op": "event", "at": 5.0, "id": "a.1.finished", "state": "completed"},
        ],
    }
    return History(**{**plain, **changes})


def told(**changes: Any) -> dict[str, Any]:
    plain = {"op": "read", "at": 4.0, "tenant": "t", "status": 200, "id": "a", "state": "completed", "generation": 1}
    return {**plain, **changes}


START = [move(1, "pending", None), move(2, "running", "pending")]
WHOLE = [*START, move(3, "completed", "running")]
KEYED = submit(["a"], [1.0], key="k")
ASKED = move(3, "running", "running", is_cancel_asked=True)
LOST = [attempt(number=n, outcome="lost") for n in (1, 2, 3)]
TOLD = {"op": "event", "at": 5.0, "id": "a.1.finished", "state": "completed"}

PLANTED: list[tuple[str, dict[str, Any]]] = [
    ("lost", {"client": [submit(["a", "gone"], [1.0, 2.0])]}),
    ("unended", {"jobs": [job(state="running", attempt=2)], "attempts": [attempt(outcome="lost")], "results": {}}),
    ("unended", {"jobs": [job(), job("b", 2.0, state="pending", attempt=0)]}),
    ("lost_generation", {"client": [told(op="retry", generation=2)]}),
    ("key_twice", {"client": [KEYED, submit(["b"], [1.0], key="k")], "jobs": [job(), job("b", 1.0)]}),
    ("duplicate_id", {"client": [KEYED], "jobs": [job(), job("b", 1.0)]}),
    ("key_other_body", {"client": [KEYED, submit(["a"], [5.0], key="k")]}),
    ("key_refused", {"client": [KEYED, submit([], [1.0], key="k", status=409)]}),
    ("illegal_move", {"moves": [move(1, "running", None)]}),
    ("illegal_move", {"moves": [move(1, "pending", None), move(2, "completed", "pending")]}),
    ("illegal_move", {"moves": [*START, move(3, "expired", "running")]}),
    ("illegal_move", {"moves": [*START, move(3, "completed", "pending")]}),
    ("illegal_move", {"moves": [*WHOLE, move(4, "pending", "completed", generation=3)]}),
    ("illegal_move", {"moves": [*WHOLE, move(4, "pending", "completed", generation=2, attempt=1)]}),
    ("illegal_move", {"moves": [*START, move(3, "pending", "running", generation=2)]}),
    ("illegal_move", {"moves": [*START, move(3, "running", "running", attempt=2)]}),
    ("moved_after_final", {"moves": [*WHOLE, move(4, "cancelled", "completed")]}),
    ("moved_after_final", {"moves": [*WHOLE, move(4, "completed", "completed")]}),
    ("moved_after_final", {"moves": [*WHOLE, move(4, "pending", "completed")]}),
    ("cancel_ignored", {"moves": [*START, ASKED, move(4, "completed", "running")]}),
    ("attempt_gap", {"moves": [move(1, "pending", None), move(2, "running", "pending", attempt=2)]}),
    ("attempt_gap", {"jobs": [job(attempt=2)], "attempts": [attempt(number=2)]}),
    ("attempt_gap", {"attempts": [attempt(outcome="lost"), attempt(number=3)], "jobs": [job(attempt=2)]}),
    ("attempt_gap", {"jobs": [job(attempt=2)]}),
    ("attempts_over_max", {"jobs": [job(attempt=4)], "attempts": [*LOST, attempt(number=4)]}),
    ("attempt_after_final", {"jobs": [job(attempt=2)], "attempts": [attempt(), attempt(number=2)]}),
    ("attempt_by_another", {"attempts": [dataclasses.replace(attempt(), instance_id="other")]}),
    ("last_attempt_differs", {"attempts": [attempt(outcome="lost")]}),
    ("last_attempt_differs", {"attempts": [], "jobs": [job(attempt=0)]}),
    ("last_attempt_differs", {"jobs": [job(state="cancelled")], "results": {}}),
    ("result_missing", {"results": {}}),
    ("result_stray", {"jobs": [job(state="failed")], "attempts": [attempt(outcome="failed")]}),
    ("result_wrong", {"results": {"a": {"y": [[3.0]]}}}),
    ("wrong_end", {"jobs": [job(state="dead")], "attempts": [attempt(outcome="lost")], "results": {}}),
    ("wrong_end", {"client": [submit(["a"], [1.0], ends=[["dead"]])]}),
    ("run_without_claim", {"effects": [Effect(value=1.0, pid=7), Effect(value=1.0, pid=8)]}),
    ("run_without_claim", {"effects": [Effect(value=1.0, pid=7), Effect(value=9.0, pid=7)]}),
    ("result_without_run", {"effects": []}),
    ("usage_differs", {"usage": {("t", "s"): 2}}),
    ("usage_differs", {"usage": {}}),
    ("cross_tenant", {"client": [told(tenant="u")]}),
    ("cross_tenant", {"client": [told(op="cancel", tenant="u", state="running")]}),
    ("answer_changed", {"client": [told(state="cancelled")]}),
    ("answer_changed", {"client": [told(answer={"y": [[3.0]]})]}),
    ("answer_changed", {"jobs": [job(state="pending", attempt=0)], "attempts": [], "moves": START[:1]}),
    ("stale_read", {"client": [told(op="retry", generation=2, at=2.0, done=3.0), told()]}),
    ("event_twice", {"outbox": [event(), event(id="a.1.again")]}),
    ("event_missing", {"outbox": []}),
    ("event_differs", {"outbox": [event(job_state="failed")]}),
    ("event_differs", {"client": [{**TOLD, "state": "failed"}]}),
    ("event_unknown", {"client": [{**TOLD, "id": "b.1.finished"}, TOLD]}),
    ("event_unreceived", {"client": [TOLD], "outbox": [event(), event("b")]}),
]  # fmt: skip


def test_a_good_history_breaks_nothing_and_is_counted():
    figures = judge(good())

    assert figures["violations"] == {}
    assert figures["unchecked"] == []
    counted = ("jobs", "acked", "completed", "dead", "lost", "duplicate_ids", "duplicate_effects", "attempts", "runs")
    assert [figures[name] for name in counted] == [1, 1, 1, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(("name", "planted"), PLANTED, ids=[f"{n}-{name}" for n, (name, _) in enumerate(PLANTED)])
def test_what_was_planted_is_found(name: str, planted: dict[str, Any]):
    figures = judge(good(**planted))

    assert figures["violations"].get(name, 0) >= 1
    assert figures["examples"][name]


def waiting(seq: int, job_id: str, key: float, **changes: Any) -> Move:
    return move(seq, "pending", None, job_id, order_key=key, **changes)


def claimed(seq: int, job_id: str, key: float, **changes: Any) -> Move:
    return move(seq, "running", "pending", job_id, order_key=key, **changes)


IN_ORDER = [waiting(1, "a", 1.0), waiting(2, "b", 2.0), claimed(3, "a", 1.0), claimed(4, "b", 2.0)]
DELAYED = waiting(1, "a", 1.0, is_claimable=False)
AGAINST = [waiting(1, "a", 1.0), waiting(2, "b", 2.0), claimed(3, "b", 2.0), claimed(4, "a", 1.0)]


@pytest.mark.parametrize(
    ("moves", "slack_s", "found"),
    [
        (IN_ORDER, None, 0),
        (AGAINST, None, 1),
        # The rows of one claim have no order among them.
        ([*AGAINST[:3], claimed(4, "a", 1.0, at=3.0)], None, 0),
        # What comes after the claim was not there for it.
        ([waiting(1, "b", 2.0), claimed(2, "b", 2.0), waiting(3, "a", 1.0), claimed(4, "a", 1.0)], None, 0),
        # What waits for its next try is no candidate, and is one again once its time has come.
        ([DELAYED, waiting(2, "b", 2.0), claimed(3, "b", 2.0)], None, 0),
        ([DELAYED, waiting(2, "b", 2.0), move(3, "pending", "pending"), claimed(4, "b", 2.0)], None, 1),
        # A new place in the queue counts from when it was given.
        ([*AGAINST[:2], move(3, "pending", "pending", order_key=3.0), claimed(4, "b", 2.0)], None, 0),
        # Another service's queue is another queue.
        ([waiting(1, "a", 1.0, service_id="z"), waiting(2, "b", 2.0), claimed(3, "b", 2.0)], None, 0),
        # Ties go by id.
        ([waiting(1, "a", 1.0), waiting(2, "b", 1.0), claimed(3, "b", 1.0), claimed(4, "a", 1.0)], None, 1),
        # Never claimed at all: overtaken as well.
        (AGAINST[:3], None, 1),
        # With claims at the same time: only who stood by for long enough, before and after.
        (AGAINST, 1.5, 0),
        ([waiting(1, "a", 1.0), waiting(2, "b", 2.0), claimed(10, "b", 2.0), claimed(11, "a", 1.0)], 1.5, 0),
        ([waiting(1, "a", 1.0), waiting(2, "b", 2.0), claimed(10, "b", 2.0), claimed(20, "a", 1.0)], 1.5, 1),
        ([waiting(9, "a", 1.0), waiting(9, "b", 2.0), claimed(10, "b", 2.0), claimed(20, "a", 1.0)], 1.5, 0),
    ],
)  # fmt: skip
def test_who_overtook_is_found(moves: list[Move], slack_s: float | None, found: int):
    history = good(jobs=[], attempts=[], results={}, outbox=[], usage={}, client=[], moves=moves, slack_s=slack_s)

    assert judge(history)["violations"].get("overtaken", 0) == found


def test_a_job_that_was_to_be_cancelled_may_end_cancelled():
    cancelled = job(state="cancelled", attempt=0, callback_url=None)
    asked = told(op="cancel", state="cancelled")

    figures = judge(
        good(jobs=[cancelled], attempts=[], results={}, usage={}, moves=None, client=[submit(["a"], [1.0]), asked])
    )

    assert figures["violations"] == {}


def test_each_generation_has_attempts_and_an_event_of_its_own():
    again = [
        *START,
        move(3, "dead", "running"),
        move(4, "pending", "dead", generation=2),
        move(5, "running", "pending", generation=2),
        move(6, "completed", "running", generation=2),
    ]

    figures = judge(
        good(
            jobs=[job(generation=2)],
            attempts=[attempt(outcome="lost"), attempt(generation=2)],
            moves=again,
            outbox=[event(job_state="dead"), event(id="a.2.finished", generation=2)],
            client=[submit(["a"], [1.0]), told(op="retry", state="pending", generation=2), told(generation=2)],
        )
    )

    assert figures["violations"] == {}


def test_what_was_not_given_is_said_to_be_unchecked():
    figures = judge(History(jobs=[job()], attempts=[attempt()], results={"a": {}}))

    assert figures["unchecked"] == ["client", "effects", "moves", "lives", "outbox", "usage"]
    assert figures["violations"] == {}


def test_usage_beyond_what_ended_counts_as_doubled_effects():
    assert judge(good(usage={("t", "s"): 3}))["duplicate_effects"] == 2
