"""Cancel many: what is chosen ends or is asked to, nothing else does, and claims beside it lose nothing."""

import threading
import time
from collections import Counter

import pytest

from inference.access import acting
from inference.access.model import Actor, Scope
from inference.access.ports import AuditFilter
from inference.jobs.model import Claimant, JobState, Selection
from inference.store import jobs_cancel
from inference.store.audit import SqlAudit
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs
from tests.contract.jobs import SERVICE, add_instance, add_service, completed, job, queue, row, states

SCOPE = Scope("default")


def cancel(store: SqlJobs, scope: Scope = SCOPE, **conditions: object) -> dict[str, str]:
    """What became of each job that changed."""
    which = Selection(service_id=SERVICE, **conditions)  # type: ignore[arg-type]
    return {job_id: state.value for changed in store.cancel_many(scope, which) for job_id, state in changed.items()}


def test_waiting_delayed_and_running_jobs_are_cancelled_or_asked_and_others_left(
    store: SqlJobs, by: Claimant, database: Database
):
    done, runs, waits, delayed = queue(store, *(job(order_key=float(n)) for n in range(4)))
    jobs.change(database, delayed, not_before=time.time() + 60)
    store.finish(by, [completed(store.claim(by, max_rows=1).jobs[0])])
    store.claim(by, max_rows=1)

    changed = cancel(store)

    assert changed == {waits: "cancelled", delayed: "cancelled", runs: "running"}
    assert states(database) == {done: "completed", runs: "running", waits: "cancelled", delayed: "cancelled"}
    assert row(database, runs)["cancel_requested_at"] is not None
    assert row(database, waits)["completed_at"] is not None
    assert cancel(store) == {}, "nobody is asked twice"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"priority": 3}, {1, 2}),
        ({"priority": 3, "created_from": 200.0}, {2}),
        ({"created_to": 200.0}, {0, 1}),
        ({"created_from": 100.0, "created_to": 300.0}, {1, 2}),
        ({"state": JobState.RUNNING}, {0}),
        ({"state": JobState.PENDING}, {1, 2, 3}),
    ],
)
def test_only_what_fits_the_whole_filter_is_cancelled(
    store: SqlJobs, by: Claimant, conditions: dict[str, object], expected: set[int]
):
    sent = queue(
        store,
        job(order_key=0.0, submitted_at=99.0),
        job(order_key=1.0, submitted_at=100.0, priority=3),
        job(order_key=2.0, submitted_at=299.0, priority=3),
        job(order_key=3.0, submitted_at=300.0),
    )
    store.claim(by, max_rows=1)

    assert {sent.index(job_id) for job_id in cancel(store, **conditions)} == expected


def test_chosen_ids_are_cancelled_and_strangers_among_them_ignored(
    store: SqlJobs, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs_cancel, "CHUNK", 2)
    elsewhere = add_service(database, "6" * 32)
    mine = queue(store, *(job() for _ in range(5)))
    (theirs,) = queue(store, job(service_id=elsewhere))

    changed = cancel(store, job_ids=(*mine[:4], theirs, "f" * 32))

    assert changed == dict.fromkeys(mine[:4], "cancelled")
    assert {states(database)[mine[4]], states(database)[theirs]} == {"pending"}


def test_another_tenants_jobs_are_out_of_reach(store: SqlJobs):
    (sent,) = queue(store, job())

    assert cancel(store, Scope("somebody-else")) == {}
    assert cancel(store, Scope("somebody-else"), job_ids=(sent,)) == {}
    assert cancel(store, Scope("default", service_id="7" * 32)) == {}


def test_every_chunk_is_walked_also_past_what_does_not_fit(
    store: SqlJobs, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs_cancel, "CHUNK", 3)
    sent = queue(store, *(job(priority=n % 2, order_key=float(n // 4)) for n in range(20)))

    changed = cancel(store, priority=1)

    assert set(changed) == set(sent[1::2])
    assert Counter(states(database).values()) == {"pending": 10, "cancelled": 10}


def test_jobs_that_are_claimed_meanwhile_are_asked_and_none_is_left_out(
    store: SqlJobs, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """Three instances claim and give back while all is cancelled: every job ends cancelled, or is asked to."""
    monkeypatch.setattr(jobs_cancel, "CHUNK", 16)
    sent = queue(store, *(job(order_key=float(n)) for n in range(300)))
    is_over = threading.Event()
    held: dict[str, Claimant] = {}

    def work() -> None:
        me = add_instance(database)
        while not is_over.is_set():
            mine = store.claim(me, max_rows=8).jobs
            if len(mine) % 2:
                store.release(me, mine)
            else:
                held.update({claimed.id: me for claimed in mine})

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    told: Counter[str] = Counter()
    for changed in store.cancel_many(SCOPE, Selection(service_id=SERVICE)):
        told.update(state.value for state in changed.values())
    is_over.set()
    for worker in workers:
        worker.join()

    rows = [row(database, job_id) for job_id in sent]
    left = [one["id"] for one in rows if one["state"] != "cancelled" and one["cancel_requested_at"] is None]
    print(f"told: {dict(told)}, held by instances: {len(held)}")
    assert left == []
    assert told.total() == len(sent)


def test_one_audit_record_tells_what_was_chosen_and_how_many(store: SqlJobs, database: Database):
    which = Selection(service_id=SERVICE, priority=4, job_ids=("a", "b"))
    with acting.acting(Actor(tenant_id="default", kind="key", id="k", name="n", address="", operation="POST /x")):
        store.note_cancelled(SCOPE, which, cancelled=2, requested=1)

    (record,) = SqlAudit(database).find(AuditFilter(tenant_id="default", object_id=SERVICE))

    assert (record.action, record.object_kind, record.before) == ("job.cancel_many", "service", {})
    assert record.after == {"cancelled": 2, "requested": 1, "filter": {"priority": 4, "task_ids": ["a", "b"]}}
