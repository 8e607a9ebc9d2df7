"""Usage: added in the transaction that ends an attempt, exactly once, and read by tenant, key, service and day."""

import time

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.access.ports import UsageGroup
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.model import Claimant, JobState, NewJob
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.jobs_claim import count_waiting
from inference.store.usage import SqlUsage
from tests.contract import jobs
from tests.contract.jobs import SERVICE, completed, ended, job, queue

KEY, OTHER = "a" * 12, "b" * 12
NOON = 20_000 * 86_400.0 + 43_200


@pytest.fixture
def usage(database: Database) -> SqlUsage:
    return SqlUsage(database)


def run(store: SqlJobs, by: Claimant, *sent, started_at=NOON, seconds=1.0, **changes):
    """Commits, claims and finishes these jobs as one engine call of so many seconds; what became of them."""
    queue(store, *sent)
    claimed = store.claim(by, max_rows=100).jobs
    times = {"started_at": started_at, "ended_at": started_at + seconds, "batch_size": len(claimed)}
    return store.finish(by, [completed(one, **{**times, **changes}) for one in claimed])[0]


def give_to_other(database: Database, new: NewJob):
    """The job is another tenant's from now on."""
    jobs.change(database, new.id, tenant_id="other")


def of(usage: SqlUsage, group_by: UsageGroup, tenant_id: str = DEFAULT_TENANT):
    found = usage.find(Scope(tenant_id), day_from=0, day_to=10**6, group_by=group_by)
    return {used.group: (used.jobs, used.rows, pytest.approx(used.engine_s)) for used in found}


def test_a_batch_is_shared_out_to_its_jobs_by_key(store: SqlJobs, by: Claimant, usage: SqlUsage):
    run(store, by, job(key_id=KEY, rows=2), job(key_id=KEY), job(key_id=OTHER), job(), seconds=2.0)

    assert of(usage, UsageGroup.KEY) == {KEY: (2, 3, 1.0), OTHER: (1, 1, 0.5), "": (1, 1, 0.5)}
    assert usage.engine_s(DEFAULT_TENANT, False, day=20_000) == {None: pytest.approx(2.0)}
    assert usage.engine_s(DEFAULT_TENANT, True, day=20_000) == {
        None: pytest.approx(2.0),
        KEY: pytest.approx(1.0),
        OTHER: pytest.approx(0.5),
    }


def test_what_ends_later_is_added_to_what_was_there(store: SqlJobs, by: Claimant, usage: SqlUsage):
    run(store, by, job(), seconds=1.0)
    run(store, by, job(), seconds=0.5)

    assert of(usage, UsageGroup.SERVICE) == {SERVICE: (2, 2, 1.5)}


def test_days_end_at_midnight_utc(store: SqlJobs, by: Claimant, usage: SqlUsage):
    midnight = 20_001 * 86_400.0

    run(store, by, job(), started_at=midnight - 2, seconds=1.0)
    run(store, by, job(), started_at=midnight - 1, seconds=2.0)

    assert of(usage, UsageGroup.DAY) == {"20000": (1, 1, 1.0), "20001": (1, 1, 2.0)}
    assert usage.engine_s(DEFAULT_TENANT, False, day=20_001) == {None: pytest.approx(2.0)}


def test_a_retried_attempt_costs_time_and_counts_as_one_job_in_the_end(store: SqlJobs, by: Claimant, usage: SqlUsage):
    queue(store, job())
    (first,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [ended(first, JobState.PENDING, started_at=NOON, ended_at=NOON + 1)])
    (second,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(second, started_at=NOON, ended_at=NOON + 2)])

    assert of(usage, UsageGroup.SERVICE) == {SERVICE: (1, 1, 3.0)}


def test_a_fenced_attempt_costs_nothing(store: SqlJobs, by: Claimant, usage: SqlUsage):
    queue(store, job())
    claimed = store.claim(by, max_rows=1).jobs
    outcome = completed(claimed[0], started_at=NOON, ended_at=NOON + 1)

    store.finish(by, [outcome])
    store.finish(by, [outcome])

    assert of(usage, UsageGroup.SERVICE) == {SERVICE: (1, 1, 1.0)}


def test_failed_and_cancelled_jobs_cost_their_time(store: SqlJobs, by: Claimant, usage: SqlUsage, database: Database):
    failing, unwanted = job(key_id=KEY), job(key_id=OTHER)
    queue(store, failing, unwanted)
    claimed = store.claim(by, max_rows=2).jobs
    jobs.change(database, unwanted.id, cancel_requested_at=time.time())

    times = {"started_at": NOON, "ended_at": NOON + 1, "batch_size": 2}
    store.finish(by, [ended(one, JobState.FAILED, **times) for one in claimed])

    assert of(usage, UsageGroup.KEY) == {KEY: (1, 1, 0.5), OTHER: (0, 0, 0.5)}


def test_another_tenants_usage_is_not_seen(store: SqlJobs, by: Claimant, usage: SqlUsage, database: Database):
    theirs = job()
    queue(store, theirs)
    give_to_other(database, theirs)
    (claimed,) = store.claim(by, max_rows=1).jobs

    store.finish(by, [completed(claimed, started_at=NOON, ended_at=NOON + 1)])

    assert of(usage, UsageGroup.DAY) == {}
    assert usage.engine_s(DEFAULT_TENANT, True, day=20_000) == {None: 0}
    assert usage.engine_s("other", False, day=20_000) == {None: pytest.approx(1.0)}


def test_bytes_are_those_of_files_payloads_and_results(
    store: SqlJobs, by: Claimant, usage: SqlUsage, database: Database
):
    run(store, by, job(key_id=KEY, payload=b"12345"), result=b"123")
    theirs = job(payload=b"1" * 500, key_id=KEY)
    queue(store, job(payload=b"1234567"), theirs)
    give_to_other(database, theirs)
    with database.write() as connection:
        for size_bytes, key_id in ((1000, KEY), (10_000, None)):
            row = {"id": new_id(), "tenant_id": DEFAULT_TENANT, "sha256": "c" * 64, "created_at": 0.0}
            connection.execute(tables.uploads.insert(), row | {"size_bytes": size_bytes, "key_id": key_id})

    assert usage.bytes_stored(DEFAULT_TENANT, False) == {None: 11_000 + 5 + 3 + 7}
    assert usage.bytes_stored(DEFAULT_TENANT, True) == {None: 11_000 + 5 + 3 + 7, KEY: 1000 + 5 + 3}
    assert usage.bytes_stored("nobody", True) == usage.bytes_stored("nobody", False) == {None: 0}


def test_jobs_that_wait_are_counted_by_tenant_and_by_key(store: SqlJobs, by: Claimant, database: Database):
    theirs = job(key_id=KEY)
    queue(store, *(job(key_id=key, order_key=n) for n, key in enumerate((KEY, KEY, OTHER, None))), theirs)
    give_to_other(database, theirs)

    store.claim(by, max_rows=1)

    assert store.waiting(DEFAULT_TENANT) == {None: 3}
    assert store.waiting(DEFAULT_TENANT, True) == {None: 3, KEY: 1, OTHER: 1}


def test_counting_what_waits_does_not_look_at_what_has_ended(store: SqlJobs, database: Database):
    """A tenant may have a million jobs that are over."""
    if not database.is_sqlite:
        pytest.skip("PostgreSQL's plan depends on statistics")
    for by_key in (False, True):
        statement = count_waiting(database, by_key=by_key).text

        with database.read() as connection:
            plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {statement}"), {"t": DEFAULT_TENANT}).all()

        assert plan[0].detail == "SCAN jobs USING INDEX ix_jobs_pending"


def test_what_predictions_used_is_added_to_what_jobs_used(database: Database) -> None:
    jobs, usage = SqlJobs(database), SqlUsage(database)
    by = Claimant(service_id="s", instance_id="i", generation=1, worker="w", model_version="1.0.0")

    for _ in range(2):
        jobs.add_usage(by, [(20_000, "t", "", 3, 6, 0.25), (20_000, "t", "k", 1, 1, 0.5)])

    (whole,) = usage.find(Scope("t"), day_from=20_000, day_to=20_001, group_by=UsageGroup.DAY)
    assert (whole.jobs, whole.rows, whole.engine_s) == (8, 14, 1.5)
    assert usage.engine_s("t", True, day=20_000)["k"] == 1.0
