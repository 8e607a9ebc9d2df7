"""Retry, requeue, priority: a new generation, and what the old one may still do to it."""

import threading
import time

import pytest

from inference.access import acting
from inference.access.model import Actor, Scope
from inference.access.ports import AuditFilter
from inference.errors import JobNotFound, WrongState
from inference.jobs import events
from inference.jobs.again import RETRIED
from inference.jobs.model import FINAL, Claimant, JobState, Mark
from inference.store import tables
from inference.store.audit import SqlAudit
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.jobs import (
    SERVICE,
    add_instance,
    add_service,
    became,
    completed,
    count,
    ended,
    job,
    queue,
    row,
    stored_result,
)

SCOPE = Scope("default")


def plain(submitted_at: float, priority: int, deadline: float | None) -> float:
    """An order key that a test can foretell."""
    return submitted_at - priority


def lift(key: float, priority: int, deadline: float | None, submitted_at: float) -> float:
    return key - 9


def retry(store: SqlJobs, job_id: str) -> int:
    return store.again(SCOPE, job_id, action="retry", allowed=RETRIED, place=plain).generation


def requeue(store: SqlJobs, job_id: str) -> int:
    return store.again(SCOPE, job_id, action="requeue", allowed=FINAL, place=plain).generation


def run(store: SqlJobs, by: Claimant, state: JobState = JobState.COMPLETED) -> None:
    (claimed,) = store.claim(by, max_rows=1).jobs
    outcome = completed(claimed) if state is JobState.COMPLETED else ended(claimed, state)
    store.finish(by, [outcome])


def end(store: SqlJobs, by: Claimant, database: Database, job_id: str, state: JobState) -> None:
    """Brings a waiting job to that final state, as the product does."""
    if state is JobState.CANCELLED:
        store.cancel(SCOPE, job_id)
    elif state is JobState.EXPIRED:
        jobs.change(database, job_id, deadline=time.time() - 1)
        store.expire()
    else:
        run(store, by, state)


@pytest.mark.parametrize("state", sorted(RETRIED))
def test_a_retried_job_waits_as_if_new_and_its_payload_and_errors_stay(
    store: SqlJobs, by: Claimant, database: Database, state: JobState
):
    (sent,) = queue(store, job(priority=3, order_key=1.0))
    end(store, by, database, sent, state)
    before = row(database, sent)
    jobs.change(database, sent, crashes=2, batch_cap=1)

    generation = retry(store, sent)

    after = row(database, sent)
    assert generation == 2
    assert (after["state"], after["generation"], after["attempt"]) == ("pending", 2, 0)
    assert (after["crashes"], after["batch_cap"], after["deadline"]) == (0, 0, None)
    assert {after[name] for name in ("started_at", "completed_at", "claimed_at", "cancel_requested_at", "worker",
            "error_code", "error_message", "instance_id", "instance_generation", "batch_size")} == {None}  # fmt: skip
    assert after["submitted_at"] == before["submitted_at"]
    assert time.time() - 60 < after["order_key"] + 3 < time.time() + 60
    (claimed,) = store.claim(by, max_rows=1).jobs
    assert (claimed.generation, claimed.attempt, claimed.payload) == (2, 1, b"payload")


def test_a_requeued_job_has_no_result_until_it_has_a_new_one(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    run(store, by)

    requeue(store, sent)
    meanwhile = store.get(SCOPE, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed, b'{"y": "second"}')])

    assert (meanwhile.state, meanwhile.result, meanwhile.attempts) == (JobState.PENDING, None, 0)
    assert stored_result(database, sent) == {"y": "second"}
    assert store.get(SCOPE, sent).generation == 2


def test_a_deadline_that_is_ahead_is_kept(store: SqlJobs, by: Claimant, database: Database):
    ahead = time.time() + 600
    (sent,) = queue(store, job(deadline=ahead))
    run(store, by, JobState.FAILED)

    retry(store, sent)

    assert row(database, sent)["deadline"] == ahead


def test_a_job_in_another_state_is_refused_and_left_as_it_is(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    refusals = []
    for state in ("pending", "running", "completed"):
        if state == "running":
            (claimed,) = store.claim(by, max_rows=1).jobs
        elif state == "completed":
            store.finish(by, [completed(claimed)])
        before = row(database, sent)
        with pytest.raises(WrongState) as refusal:
            retry(store, sent)
        refusals.append((refusal.value.details["state"], row(database, sent) == before))

    assert refusals == [("pending", True), ("running", True), ("completed", True)]
    assert refusal.value.details["allowed"] == ["cancelled", "dead", "expired", "failed"]


def test_of_many_who_retry_at_once_one_does(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    run(store, by, JobState.FAILED)
    won: list[object] = []

    def ask() -> None:
        try:
            won.append(retry(store, sent))
        except WrongState:
            won.append(None)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, won)) == ["2", *["None"] * 5]
    assert row(database, sent)["generation"] == 2


def test_a_late_finish_of_the_old_generation_changes_nothing_even_from_the_same_instance(
    store: SqlJobs, by: Claimant, database: Database
):
    """The reaper buried it, a person retried it, the same instance has it again: attempt 1 both times."""
    (sent,) = queue(store, job(max_attempts=1))
    (old,) = store.claim(by, max_rows=1).jobs
    jobs.change(database, sent, instance_id="f" * 32)
    store.reap()
    retry(store, sent)
    (new,) = store.claim(by, max_rows=1).jobs

    late, _ = store.finish(by, [completed(old, b'{"y": "old"}')])
    released = store.release(by, [old])
    right, _ = store.finish(by, [completed(new, b'{"y": "new"}')])

    assert (old.attempt, new.attempt) == (1, 1)
    assert (late, released) == ({}, {})
    assert became(right) == {sent: JobState.COMPLETED}
    assert stored_result(database, sent) == {"y": "new"}
    told = store.history(SCOPE, sent)
    assert [(one.generation, one.attempt, one.outcome) for one in told.attempts] == [
        (1, 1, "lost"),
        (2, 1, "completed"),
    ]


def test_a_retry_beside_late_finishes_leaves_one_result_of_the_newest_generation(
    store: SqlJobs, by: Claimant, database: Database
):
    """Four old attempts finish while a person retries, again and again: whoever comes first, nothing is mixed."""
    (sent,) = queue(store, job(max_attempts=1))
    for round_ in range(1, 6):
        (old,) = store.claim(by, max_rows=1).jobs
        barrier = threading.Barrier(3)

        def finish_late(claimed=old, go=barrier) -> None:  # type: ignore[no-untyped-def]
            go.wait()
            store.finish(by, [ended(claimed, JobState.FAILED)])

        def ask(go=barrier) -> None:  # type: ignore[no-untyped-def]
            go.wait()
            for _ in range(50):
                try:
                    retry(store, sent)
                    return
                except WrongState:
                    time.sleep(0.002)

        threads = [threading.Thread(target=finish_late), threading.Thread(target=finish_late),
                   threading.Thread(target=ask)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert row(database, sent)["generation"] == round_ + 1

    told = store.history(SCOPE, sent)
    assert [(one.generation, one.attempt, one.outcome) for one in told.attempts] == [
        (n, 1, "failed") for n in range(1, 6)
    ]
    assert (told.job.state, told.job.generation, count(database, tables.results)) == (JobState.PENDING, 6, 0)


def test_every_error_of_every_generation_is_kept(store: SqlJobs, by: Claimant):
    (sent,) = queue(store, job())
    run(store, by, JobState.DEAD)
    retry(store, sent)
    run(store, by, JobState.FAILED)

    told = store.history(SCOPE, sent)

    assert [(one.generation, one.outcome, one.error_code, one.error_message) for one in told.attempts] == [
        (1, "dead", "engine_failed", "It broke."),
        (2, "failed", "engine_failed", "It broke."),
    ]
    assert {one.worker for one in told.attempts} == {by.worker}


def test_a_history_shows_an_attempt_under_way(store: SqlJobs, by: Claimant):
    (sent,) = queue(store, job())
    store.claim(by, max_rows=1)

    told = store.history(SCOPE, sent)

    assert (told.job.state, told.job.attempts, told.attempts) == (JobState.RUNNING, 1, ())
    assert told.claimed_at is not None


def test_a_new_priority_moves_a_waiting_job(store: SqlJobs, by: Claimant, database: Database):
    first, second = queue(store, job(order_key=1.0), job(order_key=2.0, submitted_at=2.0))

    store.prioritise(SCOPE, second, priority=9, move=lift)

    assert (row(database, second)["priority"], row(database, second)["order_key"]) == (9, -7.0)
    assert [claimed.id for claimed in store.claim(by, max_rows=1).jobs] == [second]
    with pytest.raises(WrongState) as refusal:
        store.prioritise(SCOPE, second, priority=1, move=lift)
    assert refusal.value.details == {"state": "running", "allowed": ["pending"]}
    assert first


def test_another_tenants_job_is_not_found(store: SqlJobs, by: Claimant):
    (sent,) = queue(store, job())
    run(store, by, JobState.FAILED)
    other = Scope("somebody-else")

    for call in (
        lambda: store.again(other, sent, action="retry", allowed=FINAL, place=plain),
        lambda: store.prioritise(other, sent, priority=1, move=lift),
        lambda: store.history(other, sent),
    ):
        with pytest.raises(JobNotFound):
            call()


def test_each_change_is_in_the_audit_record(store: SqlJobs, by: Claimant, database: Database):
    (sent,) = queue(store, job())
    with acting.acting(Actor(tenant_id="default", kind="key", id="k", name="n", address="", operation="POST /x")):
        store.prioritise(SCOPE, sent, priority=2, move=lift)
        store.prioritise(SCOPE, sent, priority=2, move=lift)
        run(store, by, JobState.FAILED)
        retry(store, sent)
        run(store, add_instance(database))
        requeue(store, sent)

    records = SqlAudit(database).find(AuditFilter(tenant_id="default", object_id=sent))

    assert [(one.action, one.before, one.after) for one in reversed(records)] == [
        ("job.prioritise", {"priority": 0}, {"priority": 2, "service_id": SERVICE}),
        ("job.retry", {"state": "failed", "generation": 1},
         {"state": "pending", "generation": 2, "service_id": SERVICE}),
        ("job.requeue", {"state": "completed", "generation": 2},
         {"state": "pending", "generation": 3, "service_id": SERVICE}),
    ]  # fmt: skip


def test_marks_say_where_jobs_stand(store: SqlJobs, by: Claimant):
    first, second = queue(store, job(order_key=1.0), job(order_key=2.0))
    store.claim(by, max_rows=1)

    marks = store.marks([first, second, "f" * 32])

    assert marks == {
        first: Mark(generation=1, attempt=1, state=JobState.RUNNING),
        second: Mark(generation=1, attempt=0, state=JobState.PENDING),
    }
    assert events.mark(store.history(SCOPE, first)) == marks[first]


def test_who_stands_before_a_waiting_job_is_counted_up_to_a_limit(store: SqlJobs, by: Claimant, database: Database):
    elsewhere = add_service(database, "6" * 32)
    runs, *sent = queue(store, *(job(id=f"{n:032x}", order_key=float(n // 2)) for n in range(7)))
    (delayed,) = queue(store, job(order_key=0.0))
    queue(store, job(order_key=0.0, service_id=elsewhere))
    jobs.change(database, delayed, not_before=time.time() + 60)
    store.claim(by, max_rows=1)

    assert [store.ahead(SCOPE, job_id, limit=100) for job_id in sent] == [0, 1, 2, 3, 4, 5]
    assert store.ahead(SCOPE, sent[-1], limit=3) == 3
    assert {store.ahead(SCOPE, job_id, limit=3) for job_id in (runs, delayed, "f" * 32)} == {None}
    assert store.ahead(Scope("somebody-else"), sent[0], limit=3) is None


def test_the_place_in_a_long_queue_is_read_from_the_queues_index(store: SqlJobs, database: Database):
    sent = [job(order_key=float(n)) for n in range(3000)]
    for start in range(0, 3000, 500):
        store.insert([jobs.together(*sent[start : start + 500])])

    assert store.ahead(SCOPE, sent[-1].id, limit=10_001) == 2999
    if database.is_sqlite:
        query = (
            "EXPLAIN QUERY PLAN SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs o WHERE o.service_id = j.service_id "
            "AND o.state = 'pending' AND o.not_before IS NULL AND (o.order_key, o.id) < (j.order_key, j.id) LIMIT 9)) "
            "FROM jobs j WHERE j.id = 'x'"
        )
        with database.read() as connection:
            plan = " | ".join(row.detail for row in connection.exec_driver_sql(query))
        assert "SEARCH o USING INDEX ix_jobs_pending (service_id=? AND order_key<?)" in plan, plan


def test_retention_takes_no_job_that_was_retried_in_time(store: SqlJobs, by: Claimant, database: Database):
    """Either somebody's retry finds the job gone, or it is kept whole."""
    sent = queue(store, *(job(order_key=float(n)) for n in range(200)))
    for _ in range(4):
        store.finish(by, [ended(claimed, JobState.FAILED) for claimed in store.claim(by, max_rows=50).jobs])
    retried, gone = set(), set()

    def remove() -> None:
        while store.delete_finished(older_than_s=0.0, limit=3):
            pass

    remover = threading.Thread(target=remove)
    remover.start()
    for job_id in reversed(sent):
        try:
            retry(store, job_id)
            retried.add(job_id)
        except JobNotFound:
            gone.add(job_id)
    remover.join()

    print(f"retried: {len(retried)}, gone: {len(gone)}")
    assert jobs.states(database) == dict.fromkeys(retried, "pending")
    assert count(database, tables.payloads) == len(retried)
    assert retried | gone == set(sent)
