"""A fast task is over before its sender asks: its end is kept for a moment, and told where it may be."""

import pytest

from inference.access.model import Scope
from inference.jobs.model import JobState
from tests.long_polls import SCOPE, an_end, waiting


@pytest.fixture
def heard_first():
    """How a task is answered, and how often it was read, whose end was heard before anybody asked."""

    def play(*items, scope=SCOPE, wait_s=30, asks=1):
        async def scenario(waiters, store, gone):
            waiters.hear([])
            waiters.expect("a", "t")
            for item in items:
                waiters.hear(item)
            store.finish()
            for _ in range(asks):
                view = await waiters.last_view("a", wait_s=wait_s, scope=scope, read=store.read, gone=gone)
            return view.state, store.reads

        return waiting(scenario)

    return play


def test_the_end_of_a_task_that_was_sent_through_here_is_kept_for_the_first_who_asks(heard_first):
    assert heard_first([an_end()]) == (JobState.COMPLETED, 0)
    assert heard_first([an_end()], asks=2) == (JobState.COMPLETED, 1)


@pytest.mark.parametrize(
    ("items", "how"),
    [
        (([an_end()], ["a"]), {}),
        (([an_end()], None), {}),
        (([an_end("other")],), {}),
        (([an_end(result=b"0" * 5_000)],), {}),
        (([an_end()],), {"scope": Scope("other")}),
        (([an_end()],), {"scope": Scope("t", service_id="s")}),
        (([an_end()],), {"wait_s": 0}),
    ],
    ids=["taken back", "deaf since", "of others", "long", "another tenant", "a service's key", "no wait"],
)
def test_an_end_that_was_heard_before_is_read_where_it_may_not_be_true_or_not_be_seen(heard_first, items, how):
    assert heard_first(*items, **how) == (JobState.COMPLETED, 1)


def test_ends_that_nobody_asks_for_take_little_room_and_are_not_told_late(monkeypatch):
    monkeypatch.setattr("api.live.waiters.MOST_ENDED", 2)
    monkeypatch.setattr("api.live.waiters.NEW_S", 0.0)

    async def scenario(waiters, store, gone):
        waiters.hear([])
        for task_id in "abc":
            waiters.expect(task_id, "t")
        waiters.hear([an_end(id="c")])
        store.finish()
        late = await waiters.last_view("c", wait_s=30, scope=SCOPE, read=store.read, gone=gone)
        monkeypatch.setattr("api.live.waiters.NEW_S", 1.0)
        for task_id in "def":
            waiters.expect(task_id, "t")
        waiters.hear([an_end(id=task_id) for task_id in "def"])
        return late.state, store.reads, list(waiters._ended)

    assert waiting(scenario) == (JobState.COMPLETED, 1, ["e", "f"])
