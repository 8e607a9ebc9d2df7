"""Equal inputs on both databases: what is kept answers what comes, and one run answers all that wait."""

import dataclasses
import threading
import time
from typing import Any

import pytest

from inference.ids import DEFAULT_TENANT
from inference.jobs.model import Accepted, Claimant, JobState, Submission
from inference.settings import StoreSettings
from inference.store import equal_inputs
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.equal import (
    FIRST,
    KEPT,
    MODEL,
    NEXT_MODEL,
    SECOND,
    URL,
    WHOLE,
    entries,
    events,
    keyed,
    run_one,
    send,
    set_entry,
    switch,
    used,
    worker,
)
from tests.contract.jobs import attempts, change, completed, ended, job, queue, states, stored_result


@pytest.fixture
def store(database: Database) -> SqlJobs:
    jobs.add_service(database)
    return SqlJobs(database)


@pytest.fixture
def by(store: SqlJobs, database: Database) -> Claimant:
    return worker(database)


# What comes.


def test_a_hit_completes_its_job_with_result_event_and_usage_and_no_attempt(
    store: SqlJobs, by: Claimant, database: Database
):
    run_one(store, by)
    before = used(database)
    sent = keyed(callback_url=URL, callback_events=3, rows=2)

    answer = send(store, sent)

    view = store.get(WHOLE, sent.id)
    assert answer.cached_ids == {sent.id}
    assert (view.state, view.result, view.attempts, view.is_shared) == (JobState.COMPLETED, b'{"y": [[1.0]]}', 0, True)
    assert (view.model_version, view.worker, view.started_at) == ("1.0.0", None, None)
    assert view.completed_at is not None
    assert (attempts(database, sent.id), events(database)) == ([], [f"{sent.id}.1.finished"])
    assert used(database) == (before[0] + 1, before[1] + 2, before[2])
    assert store.claim(by, max_rows=8).jobs == ()


def test_what_is_new_waits_beside_what_is_known(store: SqlJobs, by: Claimant, database: Database):
    run_one(store, by)
    known, new, unkeyed = keyed(), keyed(b"another"), job()

    answer = send(store, known, new, unkeyed)

    assert answer.job_ids == (known.id, new.id, unkeyed.id)
    assert answer.cached_ids == {known.id}
    assert {one: states(database)[one] for one in answer.job_ids} == {
        known.id: "completed",
        new.id: "pending",
        unkeyed.id: "pending",
    }


def test_an_answer_that_is_over_is_a_miss(store: SqlJobs, by: Claimant, database: Database):
    run_one(store, by)
    set_entry(database, expires_at=time.time() - 1)

    assert send(store, keyed()).cached_ids == frozenset()


def test_a_former_version_answers_nothing_from_the_moment_of_the_change(
    store: SqlJobs, by: Claimant, database: Database
):
    run_one(store, by)
    switch(database, NEXT_MODEL)

    by_the_old_key, by_the_new_key = send(store, keyed()), send(store, keyed(who=SECOND))
    switch(database, MODEL)
    taken_back = send(store, keyed())

    assert (by_the_old_key.cached_ids, by_the_new_key.cached_ids) == (frozenset(), frozenset())
    assert len(taken_back.cached_ids) == 1


def test_who_did_not_ask_for_kept_answers_gets_none(store: SqlJobs, by: Claimant):
    run_one(store, by)
    sent = keyed()

    (answer,) = store.insert([Submission(tenant_id=DEFAULT_TENANT, jobs=(sent,))])

    assert isinstance(answer, Accepted)
    assert answer.cached_ids == frozenset()


def test_an_idempotency_key_is_answered_with_the_first_task_though_it_was_a_hit(
    store: SqlJobs, by: Claimant, database: Database
):
    run_one(store, by)
    again = [
        Submission(
            tenant_id=DEFAULT_TENANT, jobs=(keyed(),), idempotency_key="one", body_hash=b"same" * 8, may_hit=True
        )
        for _ in range(2)
    ]

    first, second = (store.insert([one])[0] for one in again)

    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.job_ids == second.job_ids
    assert second.is_replay
    assert entries(database)[0].hits == 1


def test_a_hit_that_runs_again_really_runs(store: SqlJobs, by: Claimant):
    run_one(store, by)
    sent = keyed()
    send(store, sent)

    store.again(WHOLE, sent.id, action="requeue", allowed=[JobState.COMPLETED], place=lambda *_: 0.0)
    (claimed,) = store.claim(by, max_rows=1).jobs

    assert (claimed.id, claimed.input_key, claimed.generation) == (sent.id, None, 2)


# What waits.


def test_one_run_completes_all_that_wait_with_its_input_once(store: SqlJobs, by: Claimant, database: Database):
    leader, mates, other = keyed(), [keyed(callback_url=URL, rows=3) for _ in range(3)], keyed(b"another")
    queue(store, leader)
    (claimed,) = store.claim(by, max_rows=1).jobs
    queue(store, *mates, other)

    changed, claim = store.finish(by, [completed(claimed)])
    again, _ = store.finish(by, [completed(claimed)])

    assert set(changed) == {leader.id}
    assert (sorted(claim.shared_ids), again) == (sorted(one.id for one in mates), {})
    for one in mates:
        view = store.get(WHOLE, one.id)
        assert (view.state, view.attempts, view.worker) == (JobState.COMPLETED, 0, by.worker)
        assert stored_result(database, one.id) == stored_result(database, leader.id)
    assert events(database) == sorted(f"{one.id}.1.finished" for one in mates)
    assert used(database)[:2] == (4, 10)
    assert states(database)[other.id] == "pending"


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.PENDING])
def test_an_error_is_not_shared(state: JobState, store: SqlJobs, by: Claimant, database: Database):
    leader, mate = keyed(), keyed()
    queue(store, leader)
    (claimed,) = store.claim(by, max_rows=1).jobs
    queue(store, mate)

    _, claim = store.finish(by, [ended(claimed, state)], keep=KEPT)

    assert (claim.shared_ids, states(database)[mate.id], entries(database)) == ((), "pending", [])


def test_a_cancelled_run_takes_nobody_with_it_and_what_was_cancelled_stays_so(
    store: SqlJobs, by: Claimant, database: Database
):
    leader, mate, given_up = keyed(), keyed(), keyed()
    queue(store, leader, mate, given_up)
    (claimed,) = store.claim(by, max_rows=1).jobs
    for one in (leader, given_up):
        store.cancel(WHOLE, one.id)

    store.finish(by, [completed(claimed)], keep=KEPT)
    seen = states(database)
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed)], keep=KEPT)

    assert seen == {leader.id: "cancelled", given_up.id: "cancelled", mate.id: "pending"}
    assert states(database) == seen | {mate.id: "completed"}


def test_a_fenced_attempt_shares_nothing(store: SqlJobs, by: Claimant, database: Database):
    leader, mate = keyed(), keyed()
    queue(store, leader)
    (claimed,) = store.claim(by, max_rows=1).jobs
    queue(store, mate)
    change(database, leader.id, attempt=2)

    changed, claim = store.finish(by, [completed(claimed)], keep=KEPT)

    assert (changed, claim.shared_ids, states(database)[mate.id], entries(database)) == ({}, (), "pending", [])


def test_what_was_tried_before_or_came_too_late_is_left_alone(store: SqlJobs, by: Claimant, database: Database):
    leader, tried, late = keyed(), keyed(), keyed(deadline=time.time() + 60)
    queue(store, leader)
    (claimed,) = store.claim(by, max_rows=1).jobs
    queue(store, tried, late)
    change(database, tried.id, attempt=1)
    change(database, late.id, deadline=time.time() - 1)

    _, claim = store.finish(by, [completed(claimed)])

    assert claim.shared_ids == ()
    assert states(database) == {leader.id: "completed", tried.id: "pending", late.id: "pending"}


def test_another_service_of_the_same_model_shares_nothing(store: SqlJobs, by: Claimant, database: Database):
    other = jobs.add_service(database, "6" * 32, tenant_id="somebody")
    theirs = keyed(service_id=other, tenant_id="somebody")
    queue(store, theirs)

    run_one(store, by)
    late = keyed(service_id=other, tenant_id="somebody")
    (answer,) = store.insert([Submission(tenant_id="somebody", jobs=(late,), may_hit=True)])

    assert isinstance(answer, Accepted)
    assert answer.cached_ids == frozenset()
    assert (states(database)[theirs.id], states(database)[late.id]) == ("pending", "pending")


def test_another_version_shares_with_nobody_and_keeps_nothing(store: SqlJobs, by: Claimant, database: Database):
    leader, mate = keyed(who=SECOND), keyed(who=SECOND)
    queue(store, leader)
    (claimed,) = store.claim(by, max_rows=1).jobs
    queue(store, mate)

    _, claim = store.finish(by, [completed(claimed)], keep=KEPT)

    assert (claim.shared_ids, entries(database)) == ((), [])


def test_a_batch_takes_an_input_once_and_says_that_more_waits(store: SqlJobs, by: Claimant):
    first, second, third = keyed(order_key=1.0), keyed(order_key=2.0), keyed(b"another", order_key=3.0)
    queue(store, first, second, third)

    claim = store.claim(by, max_rows=8)
    elsewhere = store.claim(dataclasses.replace(by, variant=SECOND), max_rows=8)

    assert [one.id for one in claim.jobs] == [first.id, third.id]
    assert [one.id for one in elsewhere.jobs] == [second.id]


def test_two_workers_complete_each_waiting_job_once(store: SqlJobs, by: Claimant, database: Database):
    other = dataclasses.replace(jobs.add_instance(database), model_id=MODEL, variant=FIRST)
    held = []
    for one in (by, other):
        queue(store, keyed())
        held.append((one, store.claim(one, max_rows=1).jobs[0]))
    mates = [keyed(callback_url=URL) for _ in range(40)]
    queue(store, *mates)
    shared, start = list[str](), threading.Barrier(2)

    def finish(who: Claimant, claimed: Any) -> None:
        start.wait()
        shared.extend(store.finish(who, [completed(claimed)], keep=KEPT)[1].shared_ids)

    threads = [threading.Thread(target=finish, args=one) for one in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(shared) == sorted(one.id for one in mates)
    assert used(database)[0] == 42
    assert len(events(database)) == 40
    assert [(one.runs, one.shared) for one in entries(database)] == [(2, 40)]


def test_two_processes_that_send_at_once_are_both_answered(store: SqlJobs, by: Claimant, database: Database):
    run_one(store, by)
    own = Database(str(database.url.render_as_string(hide_password=False)), StoreSettings(gate_timeout_s=20.0))
    stores, sent, start = (store, SqlJobs(own)), [keyed() for _ in range(40)], threading.Barrier(2)

    def insert(which: int) -> None:
        start.wait()
        for one in sent[which::2]:
            send(stores[which], one)

    threads = [threading.Thread(target=insert, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own.close()

    assert {states(database)[one.id] for one in sent} == {"completed"}
    assert entries(database)[0].hits == 40


def test_keys_are_found_by_their_own_indexes_however_the_tables_grew(store: SqlJobs, by: Claimant, database: Database):
    """A plan that PostgreSQL makes while they are empty is kept: other indexes must not even look as good then."""
    keys = {"keys": database.ids(["k"]), "service": jobs.SERVICE}
    kept = ("pk_result_cache", "PRIMARY KEY (input_key=")
    looks = [
        (
            equal_inputs._find(database),
            keys | {"tenant": DEFAULT_TENANT},
            kept,
        ),
        (
            equal_inputs._share(database),
            keys | {"worker": "w", "version": "1", "most": 9},
            ("ix_jobs_input_key", "ix_jobs_input_key (input_key="),
        ),
        (equal_inputs._hit(database), keys | {"n": 1}, kept),
    ]

    plans = []
    for statement, bound, _ in looks:
        with database.write() as connection:
            explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
            cursor = connection.connection.cursor()
            cursor.execute(f"{explain} {statement._sql}", statement._bind(bound))
            plans.append(" ".join(str(row) for row in cursor.fetchall()))

    for plan, (_, _, index) in zip(plans, looks, strict=True):
        assert index[database.is_sqlite] in plan, plan
        assert "SCAN c" not in plan
        assert "ix_result_cache_used_at" not in plan
