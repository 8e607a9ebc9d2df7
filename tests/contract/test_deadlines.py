"""A job whose deadline has passed never reaches an engine, whichever way it came to the queue."""

import time
from collections.abc import Callable

import pytest

from inference.access.model import Scope
from inference.jobs.model import FINAL, Claim, Claimant, JobState
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.jobs import add_instance, completed, ended, job, queue, row

Way = Callable[[SqlJobs, Claimant, Database, str], None]


def sent(store: SqlJobs, by: Claimant, database: Database, job_id: str) -> None:
    pass


def released(store: SqlJobs, by: Claimant, database: Database, job_id: str) -> None:
    store.release(by, store.claim(by, max_rows=1, is_ahead=True).jobs)


def disowned(store: SqlJobs, by: Claimant, database: Database, job_id: str) -> None:
    store.claim(by, max_rows=1)
    store.disown(by)


def retried_at_once(store: SqlJobs, by: Claimant, database: Database, job_id: str) -> None:
    store.finish(by, [ended(store.claim(by, max_rows=1).jobs[0], JobState.PENDING)])


def retried_after_a_delay(store: SqlJobs, by: Claimant, database: Database, job_id: str) -> None:
    store.finish(by, [ended(store.claim(by, max_rows=1).jobs[0], JobState.PENDING, delay_s=0.01)])
    time.sleep(0.02)
    store.promote()


def lost(store: SqlJobs, by: Claimant, database: Database, job_id: str) -> None:
    victim = add_instance(database)
    store.claim(victim, max_rows=1)
    jobs.end_lease(database, victim)
    store.reap()


def requeued(store: SqlJobs, by: Claimant, database: Database, job_id: str) -> None:
    store.finish(by, [completed(store.claim(by, max_rows=1).jobs[0])])
    store.again(Scope("default"), job_id, action="requeue", allowed=FINAL, place=lambda at, *_: at)


WAYS = (sent, released, disowned, retried_at_once, retried_after_a_delay, lost, requeued)


def by_claim(store: SqlJobs, by: Claimant) -> Claim:
    return store.claim(by, max_rows=4)


def by_finish(store: SqlJobs, by: Claimant) -> Claim:
    return store.finish(by, [], max_rows=4)[1]


def ahead(store: SqlJobs, by: Claimant) -> Claim:
    return store.claim(by, max_rows=4, is_ahead=True)


@pytest.mark.parametrize("claim", [by_claim, by_finish, ahead])
@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_is_too_late_is_never_claimed(
    store: SqlJobs, by: Claimant, database: Database, way: Way, claim: Callable[[SqlJobs, Claimant], Claim]
):
    late, mate = queue(store, job(order_key=1.0, deadline=time.time() + 600), job(order_key=9e9))
    way(store, by, database, late)
    assert row(database, late)["state"] == "pending"
    attempt = row(database, late)["attempt"]
    jobs.change(database, late, deadline=time.time() - 0.001)

    found = claim(store, by)

    assert [claimed.id for claimed in found.jobs] == [mate]
    assert found.expired_ids == (late,)
    left = row(database, late)
    assert (left["state"], left["attempt"], left["error_code"]) == ("expired", attempt, "deadline_passed")
    assert left["completed_at"] is not None


def test_a_job_that_waits_for_its_next_try_expires_without_one(store: SqlJobs, by: Claimant, database: Database):
    (late,) = queue(store, job(deadline=time.time() + 600))
    store.finish(by, [ended(store.claim(by, max_rows=1).jobs[0], JobState.PENDING, delay_s=60)])
    jobs.change(database, late, deadline=time.time() - 0.001)

    assert store.expire() == [late]
    assert row(database, late)["state"] == "expired"


def test_a_job_that_is_too_late_does_not_count_among_those_before_another(
    store: SqlJobs, by: Claimant, database: Database
):
    """Not until somebody has seen it; then no longer."""
    late, mate = queue(store, job(order_key=1.0), job(order_key=2.0))
    jobs.change(database, late, deadline=time.time() - 0.001)
    before = store.ahead(Scope("default"), mate, limit=9)

    store.expire()

    assert (before, store.ahead(Scope("default"), mate, limit=9)) == (1, 0)
