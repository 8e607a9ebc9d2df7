"""Claim and release: who gets which jobs, in which order, and what a claim leaves alone."""

import dataclasses
import threading
import time

import msgspec
import pytest

from inference import waiting
from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.errors import StoreUnavailable
from inference.jobs.model import Claim, Claimant, JobState
from inference.store import head
from inference.store import jobs as store_jobs
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.jobs import SERVICE, add_instance, add_service, job, queue, row, states


def ids(claim: Claim) -> list[str]:
    return [claimed.id for claimed in claim.jobs]


def test_jobs_come_in_order_of_their_key_and_then_of_their_id(store: SqlJobs, by: Claimant):
    late, early, twin = job(order_key=300.0), job(order_key=100.0, id="1" * 32), job(order_key=100.0, id="2" * 32)
    queue(store, twin, late, early)

    claim = store.claim(by, max_rows=10)

    assert ids(claim) == [early.id, twin.id, late.id]


def test_a_claimed_job_is_complete_and_its_row_names_the_claimant(store: SqlJobs, by: Claimant, database: Database):
    sent = job(priority=4, rows=2, deadline=time.time() + 60, timeout_s=7.5, max_attempts=5, payload=b"\x00\xff\x01")
    queue(store, sent)

    (claimed,) = store.claim(by, max_rows=4).jobs

    names = ("id", "tenant_id", "priority", "rows", "bucket", "deadline", "timeout_s", "max_attempts", "payload")
    assert [getattr(claimed, name) for name in names] == [getattr(sent, name) for name in names]
    assert (claimed.attempt, claimed.crashes) == (1, 0)
    left = row(database, sent.id)
    assert (left["state"], left["attempt"]) == ("running", 1)
    assert (left["instance_id"], left["instance_generation"]) == (by.instance_id, by.generation)
    assert (left["worker"], left["model_version"]) == (by.worker, by.model_version)
    assert abs(left["claimed_at"] - time.time()) < 5


def test_a_claim_takes_at_most_max_rows_and_says_that_more_was_there(store: SqlJobs, by: Claimant):
    sent = queue(store, *(job(order_key=float(n), rows=2) for n in range(4)))

    first, second, third = (store.claim(by, max_rows=5) for _ in range(3))

    assert [ids(first), ids(second), ids(third)] == [sent[:2], sent[2:], []]
    assert [first.is_full, second.is_full, third.is_full] == [True, False, False]


def test_a_head_that_is_larger_than_a_batch_comes_alone(store: SqlJobs, by: Claimant):
    large, small = queue(store, job(order_key=1.0, rows=9), job(order_key=2.0))

    claim = store.claim(by, max_rows=4)

    assert ids(claim) == [large]
    assert ids(store.claim(by, max_rows=4)) == [small]


def test_nothing_is_taken_while_fewer_rows_than_asked_for_would_come(store: SqlJobs, by: Claimant, database: Database):
    first, second = queue(store, job(order_key=1.0), job(order_key=2.0))

    too_few = store.claim(by, max_rows=8, min_rows=3)
    enough = store.claim(by, max_rows=8, min_rows=2)

    assert too_few.jobs == ()
    assert ids(enough) == [first, second]
    assert set(states(database).values()) == {"running"}


def test_a_batch_ends_where_another_shape_begins_so_that_nobody_is_overtaken(store: SqlJobs, by: Claimant):
    a1, b, a2 = queue(
        store,
        job(order_key=1.0, bucket="a"),
        job(order_key=2.0, bucket="b"),
        job(order_key=3.0, bucket="a"),
    )

    batches = [ids(store.claim(by, max_rows=8)) for _ in range(3)]

    assert batches == [[a1], [b], [a2]]


def test_a_suspect_of_a_crash_runs_alone(store: SqlJobs, by: Claimant, database: Database):
    suspect, *others = queue(store, *(job(order_key=float(n)) for n in range(3)))
    jobs.change(database, suspect, batch_cap=1)

    batches = [ids(store.claim(by, max_rows=8)) for _ in range(2)]

    assert batches == [[suspect], others]


def test_a_suspect_is_never_claimed_ahead(store: SqlJobs, by: Claimant, database: Database):
    (suspect,) = queue(store, job())
    jobs.change(database, suspect, batch_cap=1)

    assert store.claim(by, max_rows=8, is_ahead=True).jobs == ()
    assert ids(store.claim(by, max_rows=8)) == [suspect]


def test_a_job_claimed_ahead_has_not_started(store: SqlJobs, by: Claimant, database: Database):
    ahead, now = queue(store, job(order_key=1.0), job(order_key=2.0))

    store.claim(by, max_rows=1, is_ahead=True)
    store.claim(by, max_rows=1)

    assert row(database, ahead)["started_at"] is None
    assert row(database, now)["started_at"] is not None


def test_a_job_that_is_too_late_expires_instead_of_being_claimed(store: SqlJobs, by: Claimant, database: Database):
    late, good = queue(store, job(order_key=1.0, deadline=time.time() - 1), job(order_key=2.0))

    claim = store.claim(by, max_rows=8)

    assert ids(claim) == [good]
    assert claim.expired_ids == (late,)
    assert states(database) == {late: "expired", good: "running"}
    assert row(database, late)["attempt"] == 0
    assert row(database, late)["completed_at"] is not None


def test_another_services_jobs_are_left_alone(store: SqlJobs, by: Claimant, database: Database):
    other = add_service(database, "6" * 32)
    queue(store, job(service_id=other))

    assert store.claim(by, max_rows=8) == Claim()
    assert store.has_waiting(other)
    assert not store.has_waiting(SERVICE)


def test_a_claimant_whose_lease_is_over_gets_nothing(store: SqlJobs, by: Claimant, database: Database):
    queue(store, job())
    jobs.end_lease(database, by)

    assert store.claim(by, max_rows=8) == Claim()


def test_a_claimant_of_an_earlier_generation_gets_nothing(store: SqlJobs, by: Claimant):
    queue(store, job())

    assert store.claim(dataclasses.replace(by, generation=by.generation - 1), max_rows=8) == Claim()
    assert len(store.claim(by, max_rows=8).jobs) == 1


def test_a_job_that_waits_for_its_next_try_is_not_claimed(store: SqlJobs, by: Claimant, database: Database):
    (delayed,) = queue(store, job())
    jobs.change(database, delayed, not_before=time.time() + 60)

    assert store.claim(by, max_rows=8).jobs == ()


def test_a_released_job_is_as_it_was_before_the_claim(store: SqlJobs, by: Claimant, database: Database):
    kept, given = queue(store, job(order_key=1.0), job(order_key=2.0))
    held = store.claim(by, max_rows=8).jobs

    changed = store.release(by, held[1:])

    assert changed == {given: JobState.PENDING}
    assert states(database) == {kept: "running", given: "pending"}
    left = row(database, given)
    assert (left["attempt"], left["instance_id"], left["crashes"], left["batch_cap"]) == (0, None, 0, 0)
    assert [claimed.attempt for claimed in store.claim(by, max_rows=8).jobs] == [1]


@pytest.mark.parametrize("wrong", ["attempt", "generation", "life", "instance", "state"])
def test_a_release_that_is_out_of_date_changes_nothing(store: SqlJobs, by: Claimant, database: Database, wrong: str):
    (sent,) = queue(store, job())
    (claimed,) = store.claim(by, max_rows=8).jobs
    given, who = claimed, by
    if wrong == "attempt":
        given = msgspec.structs.replace(claimed, attempt=claimed.attempt + 1)
    elif wrong == "generation":
        given = msgspec.structs.replace(claimed, generation=claimed.generation + 1)
    elif wrong == "life":
        who = dataclasses.replace(by, generation=by.generation + 1)
    elif wrong == "instance":
        who = add_instance(database)
    else:
        store.finish(by, [jobs.completed(claimed)])
    before = row(database, sent)

    assert store.release(who, [given]) == {}
    assert row(database, sent) == before


def test_releasing_nothing_is_nothing(store: SqlJobs, by: Claimant):
    assert store.release(by, []) == {}


def test_a_claim_of_nothing_is_empty(store: SqlJobs, by: Claimant):
    assert store.claim(by, max_rows=8) == Claim()


def test_two_thousand_waiting_jobs_do_not_hide_an_urgent_one(store: SqlJobs, by: Claimant):
    old = time.time() - 600
    waiting = [job(order_key=old + n / 1000, submitted_at=old) for n in range(2000)]
    for start in range(0, 2000, 500):
        store.insert([jobs.together(*waiting[start : start + 500])])
    urgent = job(priority=9, order_key=time.time() - 9 * 300.0)
    queue(store, urgent)

    claim = store.claim(by, max_rows=64)

    assert claim.jobs[0].id == urgent.id
    assert len(claim.jobs) == 64
    assert claim.is_full


def test_the_state_of_a_claimed_job_is_seen_by_its_owner(store: SqlJobs, by: Claimant):
    sent = job()
    queue(store, sent)

    before = store.get(Scope(sent.tenant_id), sent.id)
    store.claim(by, max_rows=1)
    after = store.get(Scope(sent.tenant_id), sent.id)

    assert (before.state, before.attempts) == (JobState.PENDING, 0)
    assert (after.state, after.attempts, after.worker) == (JobState.RUNNING, 1, by.worker)


def test_a_claim_whose_answer_was_lost_can_be_given_back(store: SqlJobs, by: Claimant, database: Database):
    queue(store, job(), job(), job())
    other = add_instance(database)
    theirs = store.claim(other, max_rows=1).jobs
    mine = store.claim(by, max_rows=2).jobs
    store.cancel(Scope(mine[0].tenant_id), mine[0].id)

    released = store.disown(by)

    assert released == {mine[0].id: JobState.CANCELLED, mine[1].id: JobState.PENDING}
    assert states(database)[theirs[0].id] == "running"
    assert sorted(states(database).values()) == ["cancelled", "pending", "running"]
    assert {one.attempt for one in store.claim(by, max_rows=4).jobs} == {1}


def test_a_released_job_whose_cancellation_was_asked_for_ends_cancelled(
    store: SqlJobs, by: Claimant, database: Database
):
    (sent,) = queue(store, job())
    (claimed,) = store.claim(by, max_rows=1, is_ahead=True).jobs
    store.cancel(Scope(claimed.tenant_id), sent)

    released = store.release(by, [claimed])

    left = row(database, sent)
    assert (left["state"], left["attempt"], left["completed_at"] is not None) == ("cancelled", 0, True)
    assert released == {sent: JobState.CANCELLED}


def test_the_clock_goes_on_while_the_database_is_away(
    store: SqlJobs, database: Database, monkeypatch: pytest.MonkeyPatch
):
    def away(_: object) -> float:
        raise StoreUnavailable("away", part="sql")

    monkeypatch.setattr(database, "now_s", away)

    assert store.now_s() > 0


def test_a_loop_goes_on_with_the_clock_it_knows_while_a_thread_looks_again(
    store: SqlJobs, database: Database, monkeypatch: pytest.MonkeyPatch
):
    store.now_s()
    threads, look = [], database.now_s
    monkeypatch.setattr(database, "now_s", lambda known: (threads.append(threading.get_ident()), look(known))[1])
    monkeypatch.setattr(store_jobs, "monotonic_s", lambda: monotonic_s() + 60)

    waiting.forbid_here()
    try:
        found = [store.now_s() for _ in range(3)]
    finally:
        waiting.allow_again()

    assert all(abs(at - time.time()) < 5 for at in found)
    assert len(threads) == (0 if database.is_sqlite else 1)
    assert threading.get_ident() not in threads


def test_nobody_rings_for_a_service_that_is_stopped(store: SqlJobs, database: Database):
    queue(store, job())
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE services SET state = 'stopped'")

    assert store.services_with_waiting() == []


def test_a_claimant_that_stands_still_does_not_keep_its_rows_for_ever(database: Database):
    if database.is_sqlite:
        pytest.skip("SQLite has one writer, and no server that could end it")

    with database.read() as connection:
        limit = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one()

    assert limit == "20s"


def test_what_a_claim_and_a_finish_cost_does_not_grow_with_the_jobs_that_ever_were(
    store: SqlJobs, by: Claimant, database: Database
):
    if database.is_sqlite:
        pytest.skip("SQLite plans each statement by its indexes alone")
    before = rows_walked(database)

    for _ in range(20):  # beyond the sixth time PostgreSQL keeps the plan that it made for tables all but empty
        queue(store, *(job() for _ in range(4)))
        claimed = store.claim(by, max_rows=2).jobs
        _, more = store.finish(by, [jobs.completed(one) for one in claimed], max_rows=2)
        store.finish(by, [jobs.completed(one) for one in more.jobs])

    assert rows_walked(database) == before


def rows_walked(database: Database) -> int:
    """Rows that PostgreSQL has read by going through a whole table of the hot path."""
    counted = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('jobs', 'payloads', 'results')"
    database.engine.dispose()  # a server process tells what it has counted at its end, else when it likes
    seen: list[int] = []
    while len(seen) < 3 or len(set(seen[-3:])) > 1:
        time.sleep(0.1)
        with database.read() as connection:
            seen.append(int(connection.exec_driver_sql(counted).scalar_one()))
    return seen[-1]


def test_a_claim_that_begins_past_the_head_comes_back_to_it_before_it_says_that_nothing_waits(
    store: SqlJobs, by: Claimant, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(head, "SLOW_S", 0.0)  # as if every look walked over a million dead entries
    monkeypatch.setattr(head, "PAUSE_LIMIT_S", 3600.0)
    monkeypatch.setattr(head, "PAUSE", 1e9)
    monkeypatch.setattr(head, "MANY", 0)
    sent = queue(store, *(job(order_key=10.0 + n) for n in range(4)))
    before = [ids(store.claim(by, max_rows=1)) for _ in range(2)]
    (early,) = queue(store, job(order_key=5.0))

    after = [ids(store.claim(by, max_rows=1)) for _ in range(4)]

    assert before == [[sent[0]], [sent[1]]]
    assert sorted(after[:3]) == sorted([[early], [sent[2]], [sent[3]]])
    assert after[3] == []
