"""The outbox: filled by whoever moves a job, leased by one sender, settled by the one that holds the lease."""

import contextlib
import dataclasses

import pytest

from inference.access.model import Scope
from inference.jobs import webhook
from inference.jobs.model import Claimant, JobState
from inference.notify.model import Answer, Delivery, DeliveryState
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.outbox import SqlOutbox
from inference.store.webhook_secrets import SqlWebhookSecrets
from tests.contract.jobs import add_instance, add_service, completed, end_lease, ended, job, queue

URL = "https://receiver.example/hook"


@pytest.fixture
def store(database: Database) -> SqlJobs:
    add_service(database)
    return SqlJobs(database)


@pytest.fixture
def by(database: Database) -> Claimant:
    return add_instance(database)


@pytest.fixture
def outbox(database: Database, store: SqlJobs) -> SqlOutbox:
    return SqlOutbox(database, lambda delivery: webhook.body(store, delivery))


def take(outbox: SqlOutbox, *, limit: int = 100, of_one: int = 100, by: str = "me", lease_s: float = 60.0, busy=()):
    return outbox.take(by=by, limit=limit, of_one=of_one, lease_s=lease_s, busy=busy)


def sent_with_webhook(store: SqlJobs, **changes):
    new = job(callback_url=URL, **changes)
    queue(store, new)
    return new


def test_a_finished_job_with_a_callback_is_in_the_outbox_and_one_without_is_not(
    store: SqlJobs, by: Claimant, outbox: SqlOutbox
):
    told, silent = sent_with_webhook(store), job()
    queue(store, silent)
    claimed = store.claim(by, max_rows=2).jobs

    store.finish(by, [completed(one) for one in claimed])

    (delivery,) = take(outbox)
    assert (delivery.id, delivery.event, delivery.job_state) == (f"{told.id}.1.finished", "finished", "completed")
    assert (delivery.tenant_id, delivery.url, delivery.attempts) == (told.tenant_id, URL, 0)


def test_every_way_to_end_is_told_once(store: SqlJobs, by: Claimant, outbox: SqlOutbox, database: Database):
    cancelled = sent_with_webhook(store)
    store.cancel(Scope(cancelled.tenant_id), cancelled.id)
    expired = sent_with_webhook(store, deadline=1.0)
    store.expire()
    failed = sent_with_webhook(store)
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [ended(claimed, JobState.FAILED)])
    lost = sent_with_webhook(store, max_attempts=1)
    store.claim(by, max_rows=1)
    end_lease(database, by)
    store.reap()
    store.reap()

    told = {delivery.job_id: delivery.job_state for delivery in take(outbox)}

    assert told == {cancelled.id: "cancelled", expired.id: "expired", failed.id: "failed", lost.id: "dead"}
    assert take(outbox) == []


@pytest.mark.parametrize(("events", "told"), [(1, ["finished"]), (2, ["started"]), (3, ["finished", "started"])])
def test_the_start_is_told_when_it_was_asked_for(
    store: SqlJobs, by: Claimant, outbox: SqlOutbox, events: int, told: list[str]
):
    sent_with_webhook(store, callback_events=events)
    for _ in range(2):
        (claimed,) = store.claim(by, max_rows=1).jobs
        store.release(by, [claimed])
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed)])

    assert sorted(delivery.event for delivery in take(outbox)) == told


def test_a_retried_attempt_is_no_end(store: SqlJobs, by: Claimant, outbox: SqlOutbox):
    sent_with_webhook(store)
    (claimed,) = store.claim(by, max_rows=1).jobs

    store.finish(by, [ended(claimed, JobState.PENDING)])

    assert take(outbox) == []


def test_a_rolled_back_finish_leaves_nothing_in_the_outbox(
    store: SqlJobs, by: Claimant, outbox: SqlOutbox, database: Database
):
    new = sent_with_webhook(store)

    with contextlib.suppress(ZeroDivisionError), database.write() as connection:
        connection.exec_driver_sql(f"UPDATE jobs SET state = 'cancelled', completed_at = 5.0 WHERE id = '{new.id}'")
        raise ZeroDivisionError

    assert take(outbox) == []


def test_the_body_is_the_task_with_its_result(store: SqlJobs, by: Claimant, outbox: SqlOutbox):
    sent_with_webhook(store)
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed, b'{"y": [[2.5]]}')])
    (delivery,) = take(outbox)

    assert outbox.body(delivery).startswith(b'{"type":"task.finished","timestamp":"')
    assert b'"result":{"y": [[2.5]]}' in outbox.body(delivery)


def test_a_task_that_moved_on_is_told_by_its_ids_and_the_state_it_had(store: SqlJobs, by: Claimant, outbox: SqlOutbox):
    new = sent_with_webhook(store)
    store.cancel(Scope(new.tenant_id), new.id)
    (delivery,) = take(outbox)

    other = dataclasses.replace(delivery, job_state="completed")

    assert b'"data":{"task_id":"%s"' % new.id.encode() in outbox.body(other)
    assert b'"status":"completed"' in outbox.body(other)


def cancelled(store: SqlJobs, count: int, **changes) -> None:
    for _ in range(count):
        new = sent_with_webhook(store, **changes)
        store.cancel(Scope(new.tenant_id), new.id)


def test_a_leased_delivery_is_nobody_elses_until_the_lease_is_over(store: SqlJobs, outbox: SqlOutbox):
    cancelled(store, 1)

    (mine,) = take(outbox, lease_s=-1.0)
    (theirs,) = take(outbox, by="other")

    assert mine.id == theirs.id
    assert take(outbox) == []
    assert not settle(outbox, mine, by="me")
    assert settle(outbox, theirs, by="other")


def settle(outbox: SqlOutbox, delivery: Delivery, *, by: str, state=DeliveryState.DELIVERED, delay_s=0.0) -> bool:
    return outbox.settle(delivery.id, by=by, state=state, delay_s=delay_s, answer=Answer(status=200))


def test_a_delivery_that_failed_is_due_again_after_its_delay_and_not_before(store: SqlJobs, outbox: SqlOutbox):
    cancelled(store, 2)
    now, later = take(outbox)

    settle(outbox, now, by="me", state=DeliveryState.PENDING, delay_s=0.0)
    settle(outbox, later, by="me", state=DeliveryState.PENDING, delay_s=100.0)

    (again,) = take(outbox)
    assert (again.id, again.attempts) == (now.id, 1)
    assert 0 < (outbox.next_due_s() or 0) <= 100


def test_a_service_gets_only_its_part_and_a_busy_one_none(store: SqlJobs, outbox: SqlOutbox, database: Database):
    other = add_service(database, "6" * 32)
    cancelled(store, 10)
    cancelled(store, 1, service_id=other)

    busy = take(outbox, of_one=2, busy=["5" * 32])
    first = take(outbox, of_one=2)

    assert [one.service_id for one in busy] == [other]
    assert [one.service_id for one in first] == ["5" * 32] * 2


def test_settled_deliveries_are_shown_with_the_job_and_removed_in_time(store: SqlJobs, outbox: SqlOutbox):
    cancelled(store, 1)
    (delivery,) = take(outbox)
    settle(outbox, delivery, by="me")

    (shown,) = outbox.of_job(delivery.tenant_id, delivery.job_id)

    assert (shown.state, shown.last_status, shown.attempts) == (DeliveryState.DELIVERED, 200, 1)
    assert outbox.delete_settled(older_than_s=3600, limit=10) == 0
    assert outbox.delete_settled(older_than_s=-1, limit=10) == 1


def test_a_tenants_secret_is_made_once_and_rotated_with_an_overlap(database: Database):
    secrets = SqlWebhookSecrets(database)
    first = secrets.in_force("default")

    secrets.rotate("default", "whsec_bmV3", overlap_s=60)
    both = secrets.in_force("default")
    secrets.rotate("default", "whsec_bmV3ZXI=", overlap_s=0)

    assert secrets.in_force("other") != first
    assert both == ["whsec_bmV3", *first]
    assert "whsec_bmV3" not in secrets.in_force("default")
