"""Results in the blob store: what the row says of them, who reads them, and whose bytes they are."""

import msgspec

from inference.access.model import Scope
from inference.jobs.large import LargeResults
from inference.jobs.model import FINAL, Claimant, JobFilter, JobState, ResultRef
from inference.store import tables
from inference.store.bulk import SqlBulk
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.samples import SqlSamples
from inference.store.usage import SqlUsage
from tests.contract.jobs import SERVICE, completed, count, job, queue

REF = ResultRef(sha256="ab" * 32, size_bytes=30_000_000)


def finish_two(store: SqlJobs, by: Claimant) -> tuple[str, str, str]:
    """Ids of a job with a large result and of one with a small one, and their tenant."""
    large, small = job(order_key=0.0), job(order_key=1.0)
    queue(store, large, small)
    held = store.claim(by, max_rows=2).jobs
    outcomes = [completed(one, b'{"y":[1]}') for one in held]
    outcomes[0] = msgspec.structs.replace(outcomes[0], result_ref=REF)
    store.finish(by, outcomes)
    return large.id, small.id, large.tenant_id


def test_a_large_result_is_a_reference_wherever_its_task_is_read(store: SqlJobs, by: Claimant, database: Database):
    large, small, tenant = finish_two(store, by)
    scope = Scope(tenant)

    views = store.get_many(scope, [large, small])
    told = {view.id: view for _, view in store.views([large, small])}
    page = SqlBulk(database).page(scope, JobFilter(service_id=SERVICE), after=None, limit=10)

    assert (views[large].result, views[large].result_ref) == (None, REF)
    assert (views[small].result, views[small].result_ref) == (b'{"y":[1]}', None)
    assert told == views == {view.id: view for view in page.views}
    assert {view.state for view in views.values()} <= FINAL


def test_a_comparison_leaves_a_large_result_out(store: SqlJobs, by: Claimant, database: Database):
    large, small, tenant = finish_two(store, by)

    bodies = SqlSamples(database).bodies(Scope(tenant), [large, small])

    assert list(bodies) == [small]


def test_the_bytes_of_a_large_result_count_as_stored(store: SqlJobs, by: Claimant, database: Database):
    before = job()
    queue(store, before)
    store.finish(by, [completed(store.claim(by, max_rows=1).jobs[0], b"{}")])
    usage = SqlUsage(database)
    small = usage.bytes_stored(before.tenant_id, False)[None]

    finish_two(store, by)

    assert usage.bytes_stored(before.tenant_id, False)[None] - small > REF.size_bytes


def test_a_retry_and_retention_leave_no_reference(store: SqlJobs, by: Claimant, database: Database):
    large, _, tenant = finish_two(store, by)

    store.again(
        Scope(tenant), large, action="requeue", allowed=[JobState.COMPLETED], place=lambda now, priority, deadline: now
    )

    assert store.get(Scope(tenant), large).result_ref is None
    assert count(database, tables.results) == 1
    store.delete_finished(older_than_s=-60.0, limit=10)
    assert count(database, tables.results) == 0


def test_a_small_result_costs_no_statement_more(store: SqlJobs, by: Claimant):
    queue(store, job())
    outcomes = [completed(one, b"x" * 100) for one in store.claim(by, max_rows=1).jobs]

    draft = LargeResults(None, inline_bytes=100).draft(outcomes)  # type: ignore[arg-type]  # not asked for anything

    assert draft is None
