"""Group commit for an event loop: who shares a commit, who is told what, and what is left at the end."""

import asyncio
import threading

import pytest

from inference.errors import StoreUnavailable, WrongState
from inference.jobs.commit_loop import LoopCommit
from inference.jobs.model import Accepted, Submission
from inference.settings import JobsSettings
from tests.contract import jobs as rows


class Store:
    def __init__(self):
        self.groups = []
        self.refusals = {}
        self.fails = None
        self.may_write = threading.Event()
        self.may_write.set()
        self.calls_soon = False

    def insert(self, submissions, *, soon):
        if self.calls_soon:
            soon()
        self.may_write.wait(5)
        self.groups.append(len(submissions))
        if self.fails:
            raise self.fails
        return [
            self.refusals.get(one.jobs[0].id) or Accepted(job_ids=(one.jobs[0].id,), created_at=1.0)
            for one in submissions
        ]


class Bell:
    def __init__(self):
        self.rung = []
        self.is_busy = False

    def ring(self, service_id, *, slots):
        self.rung.append((service_id, slots))

    def ring_early(self, service_id, *, slots):
        if not self.is_busy:
            self.rung.append((f"early {service_id}", slots))
        return not self.is_busy

    def heed(self):
        self.rung.append(("heed", 0))


def a_submission(service_id="a", payload=b"x"):
    job = rows.job(tenant_id="t", service_id=service_id, payload=payload)
    return Submission(tenant_id="t", jobs=(job,), idempotency_key=None, body_hash=b"", slots=2)


def committing(scenario, **settings):
    store, bell = Store(), Bell()

    async def run():
        commit = LoopCommit(store, bell, JobsSettings(**settings))
        try:
            return await scenario(commit, store)
        finally:
            store.may_write.set()
            commit.close()

    return asyncio.run(run()), store, bell


def test_what_comes_during_a_commit_shares_the_next_and_each_gets_its_own_answer():
    async def scenario(commit, store):
        store.may_write.clear()
        first = a_submission()
        futures = [commit.put(first)]
        await asyncio.sleep(0.05)
        rest = [a_submission() for _ in range(5)]
        futures += [commit.put(one) for one in rest]
        store.may_write.set()
        answers = await asyncio.gather(*futures)
        return [answer.job_ids[0] for answer in answers] == [one.jobs[0].id for one in (first, *rest)]

    is_each_its_own, store, bell = committing(scenario)

    assert is_each_its_own
    assert store.groups == [1, 5]
    assert bell.rung == [("a", 2), ("a", 2)]


def test_a_refusal_is_told_to_whom_it_concerns_and_nobody_rings_for_it():
    async def scenario(commit, store):
        bad, good = a_submission("closed"), a_submission("open")
        store.refusals[bad.jobs[0].id] = WrongState("Stopped.")
        return await asyncio.gather(commit.put(bad), commit.put(good), return_exceptions=True)

    (refused, accepted), _, bell = committing(scenario)

    assert isinstance(refused, WrongState)
    assert isinstance(accepted, Accepted)
    assert [service for service, _ in bell.rung] == ["open"]


@pytest.mark.parametrize(("is_busy", "rung"), [(False, [("early a", 2), ("heed", 0)]), (True, [("a", 2)])])
def test_where_claims_wait_for_the_commit_the_bell_rings_during_it_and_only_once(is_busy, rung):
    async def scenario(commit, store):
        store.calls_soon, commit._bell.is_busy = True, is_busy
        await commit.put(a_submission())

    _, _, bell = committing(scenario)

    assert bell.rung == rung


@pytest.mark.parametrize("error", [StoreUnavailable("Away.", part="sql"), RuntimeError("unforeseen")])
def test_a_commit_that_fails_is_told_to_all_and_the_next_one_goes_on(error):
    async def scenario(commit, store):
        store.fails = error
        failed = await asyncio.gather(commit.put(a_submission()), return_exceptions=True)
        store.fails = None
        return failed[0], await commit.put(a_submission())

    (failed, accepted), _, _ = committing(scenario)

    assert failed is error
    assert isinstance(accepted, Accepted)


def test_a_commit_holds_at_most_so_many_rows_and_bytes():
    async def scenario(commit, store):
        store.may_write.clear()
        futures = [commit.put(a_submission())]
        await asyncio.sleep(0.05)
        futures += [commit.put(a_submission(payload=b"x" * size)) for size in (1, 1, 1, 90, 90)]
        store.may_write.set()
        await asyncio.gather(*futures)

    _, store, _ = committing(scenario, commit_rows=3, commit_bytes=100)

    assert store.groups == [1, 3, 1, 1]


def test_who_stops_waiting_takes_nothing_back_and_harms_nobody():
    async def scenario(commit, store):
        store.may_write.clear()
        gone, stays = commit.put(a_submission()), commit.put(a_submission())
        gone.cancel()
        store.may_write.set()
        return await stays

    accepted, store, _ = committing(scenario)

    assert isinstance(accepted, Accepted)
    assert sum(store.groups) == 2
