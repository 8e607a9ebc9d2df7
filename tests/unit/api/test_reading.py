"""Reads of many waiting clients: gathered into few, and each is told its own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from api.live.reading import MOST, Reading
from inference.access.model import Scope
from inference.errors import JobNotFound, StoreUnavailable
from inference.jobs import query
from inference.jobs.model import JobState, JobView

ALL, ONE = Scope("a"), Scope("a", service_id="s")


def a_view(task_id):
    return JobView(id=task_id, service_id="s", state=JobState.PENDING, priority=0, attempts=0, created_at=1.0)


class Jobs:
    """The two places that a read looks in; counts how often."""

    def __init__(self):
        self.there = set()
        self.hot_ones = set()
        self.asked = []
        self.is_away = False
        self.go_on = threading.Event()
        self.go_on.set()
        self.hot = SimpleNamespace(get_many=lambda tenant, ids: {i: a_view(i) for i in ids if i in self.hot_ones})
        self.store = self
        self.directory = SimpleNamespace(find=lambda scope, service_id: None)

    def get_many(self, scope, job_ids):
        self.go_on.wait(5)
        if self.is_away:
            raise StoreUnavailable("Away.", part="sql")
        self.asked.append((scope, list(job_ids)))
        return {i: a_view(i) for i in job_ids if i in self.there}


def reading(scenario):
    jobs = Jobs()

    async def run():
        with ThreadPoolExecutor(2) as threads:
            return await scenario(
                Reading(lambda scope, ids: query.get_many(jobs, scope=scope, job_ids=ids), threads), jobs
            )

    return asyncio.run(run()), jobs


def test_who_asks_at_once_shares_a_read_and_the_copies_of_finished_ones_are_read_first():
    async def scenario(room, jobs):
        jobs.there, jobs.hot_ones = {"1", "2"}, {"3"}
        return await asyncio.gather(*(room.get(ALL, task_id) for task_id in ("1", "2", "3", "1")))

    views, jobs = reading(scenario)

    assert [view.id for view in views] == ["1", "2", "3", "1"]
    assert jobs.asked == [(ALL, ["1", "2"])]


def test_what_one_may_not_see_is_not_there_for_it_and_there_for_others():
    async def scenario(room, jobs):
        jobs.there = {"1"}
        jobs.get_many = lambda scope, ids: {i: a_view(i) for i in ids if scope == ALL}
        return await asyncio.gather(room.get(ALL, "1"), room.get(ONE, "1"), return_exceptions=True)

    (seen, unseen), _ = reading(scenario)

    assert seen.id == "1"
    assert isinstance(unseen, JobNotFound)


def test_who_asks_during_a_read_gets_a_state_that_was_read_afterwards():
    async def scenario(room, jobs):
        jobs.there = {"1", "2"}
        jobs.go_on.clear()
        first = room.get(ALL, "1")
        await asyncio.sleep(0.05)
        rest = [room.get(ALL, "1"), room.get(ALL, "2")]
        jobs.go_on.set()
        await asyncio.gather(first, *rest)

    _, jobs = reading(scenario)

    assert jobs.asked == [(ALL, ["1"]), (ALL, ["1", "2"])]


def test_a_thousand_are_read_in_handfuls():
    async def scenario(room, jobs):
        jobs.there = {str(number) for number in range(1000)}
        views = await asyncio.gather(*(room.get(ALL, str(number)) for number in range(1000)))
        return [view.id for view in views] == [str(number) for number in range(1000)]

    are_own, jobs = reading(scenario)

    assert are_own
    assert [len(ids) for _, ids in jobs.asked] == [MOST] * (1000 // MOST)


@pytest.mark.parametrize("others", [0, 3])
def test_a_store_that_is_away_is_told_to_all_and_the_next_read_goes_on(others):
    async def scenario(room, jobs):
        jobs.is_away = True
        asked = [room.get(ALL, "1") for _ in range(1 + others)]
        failed = await asyncio.gather(*asked, return_exceptions=True)
        jobs.is_away, jobs.there = False, {"1"}
        return failed, await room.get(ALL, "1")

    (failed, view), _ = reading(scenario)

    assert all(isinstance(error, StoreUnavailable) for error in failed)
    assert view.id == "1"


def test_who_has_gone_keeps_nobody_else_from_its_answer():
    async def scenario(room, jobs):
        jobs.there = {"1"}
        gone, stays = room.get(ALL, "1"), room.get(ALL, "1")
        gone.cancel()
        return await stays

    view, _ = reading(scenario)

    assert view.id == "1"
