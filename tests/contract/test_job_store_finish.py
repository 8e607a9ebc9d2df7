"""Finish and cancel: the fence, results, retries, and the next batch in the same transaction."""

import dataclasses
import time

import msgspec
import pytest

from inference.access.model import Scope
from inference.errors import JobNotFound, WrongState
from inference.jobs.model import Claim, Claimant, JobState
from inference.store import jobs_finish, tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.jobs import (
    add_instance,
    attempts,
    became,
    completed,
    count,
    ended,
    job,
    queue,
    row,
    states,
    stored_result,
)


def test_a_finished_job_has_its_result_its_attempt_and_its_times(store: SqlJobs, by: Claimant, database: Database):
    sent = job()
    queue(store, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs

    changed, _ = store.finish(by, [completed(claimed, b'{"y": [[2.5]]}', batch_size=7)])

    view = store.get(Scope(sent.tenant_id), sent.id)
    assert became(changed) == {sent.id: JobState.COMPLETED}
    assert (view.state, view.result, view.batch_size, view.attempts) == (
        JobState.COMPLETED,
        b'{"y": [[2.5]]}',
        7,
        1,
    )
    assert (view.worker, view.model_version) == (by.worker, by.model_version)
    assert view.created_at <= view.started_at <= view.completed_at
    assert attempts(database, sent.id) == [(1, "completed")]


def test_finish_claims_the_next_batch(store: SqlJobs, by: Claimant):
    first, second, third = queue(store, *(job(order_key=float(n)) for n in range(3)))
    held = store.claim(by, max_rows=1)

    changed, after = store.finish(by, [completed(held.jobs[0])], max_rows=1)

    assert set(changed) == {first}
    assert [claimed.id for claimed in after.jobs] == [second]
    assert after.is_full
    assert store.get(Scope(held.jobs[0].tenant_id), third).state is JobState.PENDING


def test_finish_without_max_rows_claims_nothing(store: SqlJobs, by: Claimant, database: Database):
    first, second = queue(store, *(job(order_key=float(n)) for n in range(2)))
    held = store.claim(by, max_rows=1)

    _, after = store.finish(by, [completed(held.jobs[0])])

    assert after == Claim()
    assert states(database) == {first: "completed", second: "pending"}


def test_finish_of_nothing_is_a_plain_claim(store: SqlJobs, by: Claimant):
    (sent,) = queue(store, job())

    changed, after = store.finish(by, [], max_rows=4)

    assert (changed, [claimed.id for claimed in after.jobs]) == ({}, [sent])


@pytest.mark.parametrize("wrong", ["attempt", "generation", "life", "instance", "state"])
def test_a_late_finish_changes_nothing(store: SqlJobs, by: Claimant, database: Database, wrong: str):
    (sent,) = queue(store, job())
    (claimed,) = store.claim(by, max_rows=1).jobs
    outcome, who = completed(claimed, b'{"y": "late"}'), by
    if wrong == "attempt":
        jobs.change(database, sent, attempt=2)
    elif wrong == "generation":
        jobs.change(database, sent, generation=2)
    elif wrong == "life":
        who = dataclasses.replace(by, generation=by.generation + 1)
    elif wrong == "instance":
        who = add_instance(database)
    else:
        store.finish(by, [completed(claimed)])
    before, results = row(database, sent), count(database, tables.results)

    changed, _ = store.finish(who, [outcome])

    assert changed == {}
    assert row(database, sent) == before
    assert count(database, tables.results) == results


def test_a_worker_that_slept_past_its_lease_finishes_into_nothing(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    (slept,) = store.claim(by, max_rows=1).jobs
    jobs.end_lease(database, by)
    store.reap()
    other = add_instance(database)
    (taken,) = store.claim(other, max_rows=1).jobs
    store.finish(other, [completed(taken, b'{"y": "other"}')])

    changed, _ = store.finish(by, [completed(slept, b'{"y": "slept"}')])

    assert changed == {}
    assert stored_result(database, sent) == {"y": "other"}
    assert attempts(database, sent) == [(1, "lost"), (2, "completed")]


def test_mates_of_a_stale_outcome_are_finished(store: SqlJobs, by: Claimant, database: Database):
    stale, good = queue(store, *(job(order_key=float(n)) for n in range(2)))
    held = store.claim(by, max_rows=2).jobs
    jobs.change(database, stale, attempt=5)

    changed, _ = store.finish(by, [completed(claimed) for claimed in held])

    assert became(changed) == {good: JobState.COMPLETED}
    assert count(database, tables.results) == 1


def test_a_failed_job_keeps_its_error_and_no_result(store: SqlJobs, by: Claimant, database: Database):
    sent = job()
    queue(store, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs

    store.finish(by, [ended(claimed, JobState.FAILED)])

    view = store.get(Scope(sent.tenant_id), sent.id)
    assert (view.state, view.error_code, view.error_message, view.result) == (
        JobState.FAILED,
        "engine_failed",
        "It broke.",
        None,
    )
    assert attempts(database, sent.id) == [(1, "failed")]


def test_a_retried_job_waits_its_delay_and_then_counts_one_more_attempt(
    store: SqlJobs, by: Claimant, database: Database
):
    (sent,) = queue(store, job())
    (claimed,) = store.claim(by, max_rows=1).jobs

    changed, now = store.finish(by, [ended(claimed, JobState.PENDING, delay_s=0.2)], max_rows=4)
    early = store.promote()
    time.sleep(0.25)
    services = store.promote()
    (again,) = store.claim(by, max_rows=4).jobs

    assert became(changed) == {sent: JobState.PENDING}
    assert now.jobs == ()
    assert early == []
    assert services == [by.service_id]
    assert (again.id, again.attempt) == (sent, 2)
    assert attempts(database, sent) == [(1, "retried")]


def test_a_retry_without_delay_is_claimed_by_the_same_call(store: SqlJobs, by: Claimant):
    (sent,) = queue(store, job())
    (claimed,) = store.claim(by, max_rows=1).jobs

    _, now = store.finish(by, [ended(claimed, JobState.PENDING)], max_rows=4)

    assert [(again.id, again.attempt) for again in now.jobs] == [(sent, 2)]


def test_a_dead_job_keeps_its_payload(store: SqlJobs, by: Claimant, database: Database):
    queue(store, job())
    (claimed,) = store.claim(by, max_rows=1).jobs

    store.finish(by, [ended(claimed, JobState.DEAD)])

    assert set(states(database).values()) == {"dead"}
    assert count(database, tables.payloads) == 1


def test_a_result_that_the_database_refuses_fails_alone(store: SqlJobs, by: Claimant, database: Database):
    """PostgreSQL takes no NUL in text; SQLite takes it."""
    first, bad, last = queue(store, *(job(order_key=float(n)) for n in range(3)))
    held = {claimed.id: claimed for claimed in store.claim(by, max_rows=3).jobs}
    unwritable = msgspec.structs.replace(ended(held[bad], JobState.FAILED), error_message="nul\0in the message")

    changed, _ = store.finish(by, [completed(held[first]), unwritable, completed(held[last])])

    assert became(changed) == {first: JobState.COMPLETED, bad: JobState.FAILED, last: JobState.COMPLETED}
    assert states(database) == {first: "completed", bad: "failed", last: "completed"}
    if not database.is_sqlite:
        assert row(database, bad)["error_code"] == "output_invalid"


@pytest.mark.parametrize("most_bytes", [1 << 20, 30])
def test_each_result_of_a_batch_is_kept_whole_however_large_all_are(
    store: SqlJobs, by: Claimant, database: Database, monkeypatch, most_bytes: int
):
    """Beyond the limit PostgreSQL gets them in halves."""
    monkeypatch.setattr(jobs_finish, "MOST_JOINED_BYTES", most_bytes)
    sent = queue(store, *(job(order_key=float(n)) for n in range(4)))
    results = dict(zip(sent, [b'"a,b"', '"\u00e4\\u0000\'"'.encode(), b'{"y": [1.5]}', b'"%s:x"'], strict=True))
    claimed = store.claim(by, max_rows=4).jobs

    store.finish(by, [completed(one, results[one.id]) for one in claimed])

    views = [store.get(Scope(claimed[0].tenant_id), job_id) for job_id in sent]
    assert {view.id: view.result for view in views} == results
    assert count(database, tables.attempts) == 4


def test_a_waiting_job_is_cancelled_at_once_and_never_claimed(store: SqlJobs, by: Claimant, database: Database):
    sent = job()
    queue(store, sent)

    state = store.cancel(Scope(sent.tenant_id), sent.id)

    assert state is JobState.CANCELLED
    assert store.claim(by, max_rows=4).jobs == ()
    assert row(database, sent.id)["completed_at"] is not None
    assert store.cancel(Scope(sent.tenant_id), sent.id) is JobState.CANCELLED


def test_a_running_job_is_only_asked_and_ends_cancelled_at_its_finish(store: SqlJobs, by: Claimant, database: Database):
    sent = job()
    queue(store, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs

    state = store.cancel(Scope(sent.tenant_id), sent.id)
    meanwhile = store.get(Scope(sent.tenant_id), sent.id).state
    changed, _ = store.finish(by, [completed(claimed)])

    assert (state, meanwhile) == (JobState.RUNNING, JobState.RUNNING)
    assert became(changed) == {sent.id: JobState.CANCELLED}
    assert count(database, tables.results) == 0
    assert attempts(database, sent.id) == [(1, "cancelled")]


def test_a_finished_job_cannot_be_cancelled(store: SqlJobs, by: Claimant):
    sent = job()
    queue(store, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed)])

    with pytest.raises(WrongState) as refusal:
        store.cancel(Scope(sent.tenant_id), sent.id)

    assert refusal.value.details["state"] == "completed"


def test_another_tenants_job_is_not_found(store: SqlJobs, by: Claimant):
    sent = job()
    queue(store, sent)

    for look in (store.get, store.cancel):
        with pytest.raises(JobNotFound):
            look(Scope("somebody-else"), sent.id)
    assert len(store.claim(by, max_rows=1).jobs) == 1
