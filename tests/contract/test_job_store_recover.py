"""What time does to jobs: lost leases, crash suspects, delays, deadlines, retention."""

import time

import pytest

from inference.access.model import Scope
from inference.jobs.model import Claimant, JobState
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.jobs import SERVICE, add_instance, attempts, completed, count, ended, job, queue, row, states


def lose(store: SqlJobs, database: Database, *, max_rows: int = 8, is_ahead: bool = False) -> list[str]:
    """A fresh instance claims and dies; the ids it had."""
    victim = add_instance(database)
    held = store.claim(victim, max_rows=max_rows, is_ahead=is_ahead).jobs
    jobs.end_lease(database, victim)
    return [claimed.id for claimed in held]


def test_jobs_of_a_silent_instance_wait_again(store: SqlJobs, database: Database):
    sent = queue(store, job())
    lose(store, database)

    reaped = store.reap()

    assert reaped == [(sent[0], JobState.PENDING)]
    left = row(database, sent[0])
    assert (left["state"], left["attempt"], left["crashes"], left["instance_id"]) == ("pending", 1, 0, None)
    assert attempts(database, sent[0]) == [(1, "lost")]
    assert store.reap() == []


def test_jobs_under_a_valid_lease_are_left_alone(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    store.claim(by, max_rows=1)

    assert store.reap() == []
    assert states(database) == {sent: "running"}


def test_jobs_of_an_instance_that_was_replaced_wait_again(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    store.claim(by, max_rows=1)
    with database.write() as connection:
        connection.execute(tables.instances.update().values(generation=by.generation + 1))

    assert store.reap() == [(sent, JobState.PENDING)]


def test_a_job_that_was_not_started_is_not_charged(store: SqlJobs, database: Database):
    (sent,) = queue(store, job())
    lose(store, database, is_ahead=True)

    store.reap()

    left = row(database, sent)
    assert (left["state"], left["attempt"], left["crashes"]) == ("pending", 0, 0)
    assert attempts(database, sent) == []


def test_suspects_run_in_a_half_and_then_alone(store: SqlJobs, database: Database):
    sent = queue(store, *(job(order_key=float(n), max_attempts=5) for n in range(8)))

    sizes = []
    for _ in range(4):
        sizes.append(len(lose(store, database)))
        store.reap()

    assert sizes == [8, 4, 1, 1]
    left = [row(database, job_id) for job_id in sent]
    assert sorted(one["batch_cap"] for one in left) == [1, 1, 1, 1, 4, 4, 4, 4]
    assert sorted(one["crashes"] for one in left) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_a_poison_job_dies_and_its_mates_live(store: SqlJobs, by: Claimant, database: Database):
    """Every batch that holds the poison kills its instance; the others complete."""
    poison, *innocent = queue(store, *(job(order_key=float(n % 4)) for n in range(16)))

    crashes = 0
    for _ in range(60):
        victim = add_instance(database)
        held = store.claim(victim, max_rows=16).jobs
        if not held:
            break
        if poison in {claimed.id for claimed in held}:
            crashes += 1
            jobs.end_lease(database, victim)
            store.reap()
        else:
            store.finish(victim, [completed(claimed) for claimed in held])

    final = states(database)
    print(f"crashes: {crashes}")
    assert crashes == 2 + 3
    assert final[poison] == "dead"
    assert {final[job_id] for job_id in innocent} == {"completed"}


def test_a_job_that_used_up_its_attempts_is_dead_and_keeps_everything(store: SqlJobs, database: Database):
    (sent,) = queue(store, job(max_attempts=2))
    reaped = []
    for _ in range(2):
        lose(store, database)
        reaped += store.reap()

    view = store.get(Scope("default"), sent)

    assert reaped == [(sent, JobState.PENDING), (sent, JobState.DEAD)]
    assert (view.state, view.attempts) == (JobState.DEAD, 2)
    assert view.error_code
    assert view.completed_at is not None
    assert count(database, tables.payloads) == 1
    assert attempts(database, sent) == [(1, "lost"), (2, "lost")]


def test_a_lost_job_whose_cancellation_was_asked_for_ends_cancelled(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    store.claim(by, max_rows=1)
    store.cancel(Scope("default"), sent)
    jobs.end_lease(database, by)

    assert store.reap() == [(sent, JobState.CANCELLED)]
    assert row(database, sent)["completed_at"] is not None


def test_reap_takes_no_more_than_its_limit(store: SqlJobs, database: Database):
    queue(store, *(job(order_key=float(n)) for n in range(5)))
    lose(store, database)

    assert [len(store.reap(limit=3)) for _ in range(3)] == [3, 2, 0]


def test_promote_puts_back_only_what_is_due(store: SqlJobs, database: Database):
    due, not_yet = queue(store, job(order_key=1.0), job(order_key=2.0))
    jobs.change(database, due, not_before=time.time() - 1)
    jobs.change(database, not_yet, not_before=time.time() + 60)

    assert store.promote() == [SERVICE]
    assert row(database, due)["not_before"] is None
    assert row(database, not_yet)["not_before"] is not None
    assert store.promote() == []


def test_expire_ends_what_is_too_late_delayed_or_not_and_nothing_else(store: SqlJobs, by: Claimant, database: Database):
    running, good, late, delayed = queue(
        store,
        job(order_key=1.0, deadline=time.time() + 0.3),
        job(order_key=2.0),
        job(order_key=3.0, deadline=time.time() - 1),
        job(order_key=4.0, deadline=time.time() - 1),
    )
    jobs.change(database, delayed, not_before=time.time() + 60)
    store.claim(by, max_rows=1)
    time.sleep(0.35)

    assert sorted(store.expire()) == sorted([late, delayed])
    assert states(database) == {running: "running", late: "expired", delayed: "expired", good: "pending"}
    assert store.expire() == []


def test_old_finished_jobs_are_removed_with_all_that_hangs_on_them(store: SqlJobs, by: Claimant, database: Database):
    old, fresh, waits = queue(store, *(job(order_key=float(n)) for n in range(3)))
    store.finish(by, [completed(claimed) for claimed in store.claim(by, max_rows=2).jobs])
    jobs.change(database, old, completed_at=time.time() - 1000)

    removed = store.delete_finished(older_than_s=500, limit=10)

    assert removed == 1
    assert set(states(database)) == {fresh, waits}
    counts = [count(database, table) for table in (tables.payloads, tables.results, tables.attempts)]
    assert counts == [2, 1, 1]


def test_retention_goes_in_chunks(store: SqlJobs, by: Claimant):
    queue(store, *(job(order_key=float(n)) for n in range(5)))
    store.finish(by, [completed(claimed) for claimed in store.claim(by, max_rows=5).jobs])
    time.sleep(0.01)

    assert [store.delete_finished(older_than_s=0, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_keys_are_forgotten_apart_from_jobs(store: SqlJobs, database: Database):
    store.insert([jobs.alone(job(), key="k", body_hash=b"1")])
    time.sleep(0.01)

    kept, gone = store.forget_keys(older_than_s=60), store.forget_keys(older_than_s=0)
    (answer,) = store.insert([jobs.alone(job(), key="k", body_hash=b"2")])

    assert (kept, gone) == (0, 1)
    assert not answer.is_replay
    assert count(database, tables.jobs) == 2


def test_attempts_are_numbered_without_gap_through_every_kind_of_end(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job(max_attempts=5))
    lose(store, database)
    store.reap()
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [ended(claimed, JobState.PENDING)])
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.release(by, [claimed])
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed)])

    assert attempts(database, sent) == [(1, "lost"), (2, "retried"), (3, "completed")]


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0])
def test_this_process_clock_decides_nothing_on_postgresql(
    store: SqlJobs, by: Claimant, database: Database, skew_s: float, monkeypatch: pytest.MonkeyPatch
):
    if database.is_sqlite:
        pytest.skip("SQLite's clock is the host's")
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + skew_s)

    queue(store, job(submitted_at=store.now_s(), order_key=0.0, deadline=store.now_s() + 60))

    assert abs(store.now_s() - true_time()) < 5
    assert store.expire() == []
    assert store.reap() == []
    assert len(store.claim(by, max_rows=1).jobs) == 1


def test_jobs_in_backoff_are_not_asked_one_by_one_whether_they_are_due(store: SqlJobs, database: Database):
    how = "EXPLAIN" if not database.is_sqlite else "EXPLAIN QUERY PLAN"
    due = f"state = 'pending' AND not_before IS NOT NULL AND not_before <= {database.clock}"

    with database.read() as connection:
        plan = "\n".join(str(line) for line in connection.exec_driver_sql(f"{how} SELECT 1 FROM jobs WHERE {due}"))

    assert "ix_jobs_delayed" in plan
    assert ("not_before<" if database.is_sqlite else "(not_before <= ") in plan.split("Index Cond")[-1], plan
    assert "Filter" not in plan, plan
