"""Insert: what is answered is committed, keys are honoured, and a bad row harms no other."""

import json
import threading
import time

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import DataRefused, IdempotencyMismatch, ServiceNotFound, WrongState
from inference.ids import new_id
from inference.jobs.block import Page
from inference.jobs.model import Accepted, Claim, Claimant, JobFilter, JobState
from inference.settings import StoreSettings
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract.jobs import SERVICE, add_service, alone, completed, count, ended, job, queue, row, states, together


def test_answers_come_one_for_one_with_ids_in_order_of_the_inputs(store: SqlJobs, database: Database):
    single, batch = alone(job()), together(job(), job(), job())

    answers = store.insert([single, batch])

    assert [answer.job_ids for answer in answers] == [
        tuple(new.id for new in submission.jobs) for submission in (single, batch)
    ]
    assert [answer.is_replay for answer in answers] == [False, False]
    assert set(states(database).values()) == {"pending"}
    assert count(database, tables.payloads) == 4


def test_what_was_sent_is_what_is_stored(store: SqlJobs):
    sent = job(priority=7, deadline=4_000_000_000.5, metadata_json=json.dumps({"name": "水", "n": 1}), callback_url="u")
    queue(store, sent)

    view = store.get(Scope(sent.tenant_id), sent.id)
    assert store.get_many(Scope(sent.tenant_id), [sent.id, "0" * 32]) == {sent.id: view}
    assert store.get_many(Scope("another"), [sent.id]) == {}

    assert (view.id, view.service_id, view.state, view.priority) == (sent.id, SERVICE, JobState.PENDING, 7)
    assert (view.created_at, view.deadline, view.metadata_json) == (
        sent.submitted_at,
        sent.deadline,
        sent.metadata_json,
    )
    assert (view.started_at, view.completed_at, view.result, view.attempts) == (None, None, None, 0)


def test_the_same_key_and_body_get_the_first_ids(store: SqlJobs, database: Database):
    first = together(job(), job(), key="k", body_hash=b"same")
    again = together(job(), job(), key="k", body_hash=b"same")

    (accepted,) = store.insert([first])
    (replay,) = store.insert([again])

    assert replay.job_ids == accepted.job_ids
    assert (accepted.is_replay, replay.is_replay) == (False, True)
    assert count(database, tables.jobs) == 2


def test_the_same_key_with_another_body_is_refused(store: SqlJobs, database: Database):
    store.insert([alone(job(), key="k", body_hash=b"one")])

    (answer,) = store.insert([alone(job(), key="k", body_hash=b"two")])

    assert isinstance(answer, IdempotencyMismatch)
    assert count(database, tables.jobs) == 1


def test_two_with_one_key_in_the_same_group_are_one_job(store: SqlJobs, database: Database):
    answers = store.insert([alone(job(), key="k", body_hash=b"same") for _ in range(2)])

    assert len({answer.job_ids for answer in answers}) == 1
    assert sorted(answer.is_replay for answer in answers) == [False, True]
    assert count(database, tables.jobs) == 1


def test_one_key_with_two_bodies_in_the_same_group_commits_one_of_them(store: SqlJobs, database: Database):
    answers = store.insert([alone(job(), key="k", body_hash=body) for body in (b"one", b"two")])

    assert [type(answer) for answer in answers] == [Accepted, IdempotencyMismatch]
    assert count(database, tables.jobs) == 1


def test_keys_of_two_tenants_are_strangers(store: SqlJobs, database: Database):
    own = {tenant: add_service(database, new_id(), tenant_id=tenant) for tenant in ("a", "b")}

    answers = store.insert(
        [alone(job(tenant_id=tenant, service_id=own[tenant]), key="k", body_hash=b"x") for tenant in own]
    )

    assert [answer.is_replay for answer in answers] == [False, False]
    assert count(database, tables.jobs) == 2


def test_a_service_of_another_tenant_does_not_exist(store: SqlJobs, database: Database):
    theirs = add_service(database, new_id(), tenant_id="b")

    strange, mine = store.insert([alone(job(tenant_id="a", service_id=theirs)), alone(job())])

    assert isinstance(strange, ServiceNotFound)
    assert isinstance(mine, Accepted)
    assert count(database, tables.jobs) == 1


def test_a_replay_answers_after_the_job_is_done(store: SqlJobs, by: Claimant):
    first = alone(job(), key="k", body_hash=b"same")
    store.insert([first])
    store.finish(by, [completed(store.claim(by, max_rows=1).jobs[0])])

    (replay,) = store.insert([alone(job(), key="k", body_hash=b"same")])

    assert replay.job_ids == (first.jobs[0].id,)


def test_a_row_that_the_database_refuses_is_refused_alone(store: SqlJobs, database: Database):
    """PostgreSQL has no NUL in text. SQLite keeps it: there nothing is refused, and nothing is lost either."""
    good = [alone(job()) for _ in range(6)]
    bad = alone(job(metadata_json='{"name": "\0"}'))
    group = [*good[:4], bad, *good[4:]]

    answers = store.insert(group)

    refused = [answer for answer in answers if not isinstance(answer, Accepted)]
    if database.is_sqlite:
        assert refused == []
        assert count(database, tables.jobs) == 7
    else:
        assert [type(answer) for answer in refused] == [DataRefused]
        assert answers.index(refused[0]) == 4
        assert set(states(database)) == {submission.jobs[0].id for submission in good}
        assert count(database, tables.payloads) == 6


def test_a_batch_with_a_refused_row_is_refused_whole_and_its_key_stays_free(store: SqlJobs, database: Database):
    bad, mate = job(metadata_json="half a pair: \ud800"), alone(job())

    refused, accepted = store.insert([together(job(), bad, job(), key="k", body_hash=b"1"), mate])
    (later,) = store.insert([alone(job(), key="k", body_hash=b"2")])

    assert isinstance(refused, DataRefused)
    assert isinstance(accepted, Accepted)
    assert isinstance(later, Accepted)
    assert not later.is_replay
    assert count(database, tables.jobs) == 2


@pytest.mark.parametrize("state", ["pending", "stopping", "stopped", "error"])
def test_a_service_that_is_not_meant_to_run_takes_no_job(store: SqlJobs, database: Database, state: str):
    closed = add_service(database, "6" * 32, state=state)

    refused, accepted = store.insert([alone(job(service_id=closed)), alone(job())])

    assert isinstance(refused, WrongState)
    assert refused.details["state"] == state
    assert isinstance(accepted, Accepted)
    assert count(database, tables.jobs) == 1


def test_a_stopped_service_that_queues_takes_jobs(store: SqlJobs, database: Database):
    closed = add_service(database, "6" * 32, state="stopped", queues=True)

    (answer,) = store.insert([alone(job(service_id=closed))])

    assert isinstance(answer, Accepted)


def test_a_service_that_does_not_exist_is_not_found(store: SqlJobs, database: Database):
    (answer,) = store.insert([alone(job(service_id="7" * 32), key="k")])

    assert isinstance(answer, ServiceNotFound)
    assert count(database, tables.submissions) == 0


def test_rows_sent_again_after_a_lost_answer_are_stored_once(store: SqlJobs, database: Database):
    submission = together(job(), job())

    first, second = store.insert([submission]), store.insert([submission])

    assert first[0].job_ids == second[0].job_ids
    assert count(database, tables.jobs) == 2
    assert count(database, tables.payloads) == 2


def test_a_connection_that_was_cut_is_replaced_and_the_rows_are_committed(store: SqlJobs, database: Database):
    if database.is_sqlite:
        pytest.skip("a file has no connection to cut")
    queue(store, job())
    other = sa.create_engine(database.url)
    with other.connect() as connection:
        cut = connection.exec_driver_sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).scalar_one()
    other.dispose()

    (answer,) = store.insert([alone(job())])

    assert cut >= 1
    assert isinstance(answer, Accepted)
    assert count(database, tables.jobs) == 2


def test_lists_are_newest_first_filtered_and_paged(store: SqlJobs, by: Claimant):
    sent = [job(id=f"{n:032x}", priority=n % 2, submitted_at=float(n), order_key=float(n)) for n in range(6)]
    queue(store, *sent)
    store.claim(by, max_rows=2)

    def listed(**which: object) -> list[int]:
        return [int(view.id, 16) for view in store.list(Scope("default"), JobFilter(**which)).views]

    assert listed() == [5, 4, 3, 2, 1, 0]
    assert listed(limit=2) == [5, 4]
    assert listed(limit=2, before_id=f"{4:032x}") == [3, 2]
    assert listed(state=JobState.RUNNING) == [1, 0]
    assert listed(priority=1) == [5, 3, 1]
    assert listed(created_from=2.0, created_to=4.0) == [3, 2]
    assert listed(is_oldest_first=True, limit=2) == [0, 1]
    assert listed(is_oldest_first=True, before_id=f"{3:032x}") == [4, 5]
    assert listed(model_version=by.model_version) == listed(worker=by.worker) == [1, 0]
    assert listed(model_version="other") == listed(worker="other") == []
    assert listed(service_id="6" * 32) == []
    assert store.list(Scope("other"), JobFilter()) == Page(views=[], after=None)


def test_lists_by_error_show_what_ended_with_it(store: SqlJobs, by: Claimant):
    ids = queue(store, job(), job(), job())
    first, second, third = store.claim(by, max_rows=3).jobs
    again = ended(second, JobState.PENDING, delay_s=60.0)
    store.finish(by, [ended(first, JobState.FAILED), again, completed(third)])

    listed = store.list(Scope("default"), JobFilter(error_code="engine_failed")).views

    assert [view.id for view in listed] == [first.id]
    assert store.get(Scope("default"), second.id).error_code == "engine_failed"
    assert store.list(Scope("default"), JobFilter(error_code="other")).views == []
    assert len(ids) == 3


def test_a_range_of_times_finds_jobs_whose_ids_were_made_by_another_clock(store: SqlJobs):
    hours = [0, 12, 23]
    at = 1_795_000_000.0
    sent = [job(id=f"{int((at + 3600 * off) * 1000):012x}{n:020x}", submitted_at=at) for n, off in enumerate(hours)]
    queue(store, *sent)

    listed = store.list(Scope("default"), JobFilter(created_from=at, created_to=at + 1)).views

    assert [view.id for view in listed] == [one.id for one in reversed(sent)]


def test_counts_and_backlog_say_what_waits(store: SqlJobs, by: Claimant):
    queue(store, *(job(order_key=float(n), priority=priority) for n, priority in enumerate((0, 0, 5))))
    store.claim(by, max_rows=1)

    backlog = {(line.service_id, line.priority): line.waiting for line in store.backlog()}

    assert store.waiting("default") == {None: 2}
    assert backlog == {(SERVICE, 0): 1, (SERVICE, 5): 1}
    assert store.counts() == {(SERVICE, JobState.PENDING): 2, (SERVICE, JobState.RUNNING): 1}
    assert store.services_with_waiting() == [("default", SERVICE)]


def test_the_oldest_age_counts_from_submission(store: SqlJobs):
    sent = job()
    queue(store, job(submitted_at=sent.submitted_at - 100), sent)

    (line,) = store.backlog()

    assert 99 < line.oldest_age_s < 130


def test_views_name_the_tenant_and_hold_the_result(store: SqlJobs, by: Claimant, database: Database):
    done = job()
    waits = job(tenant_id="b", service_id=add_service(database, new_id(), tenant_id="b"))
    queue(store, done, waits)
    store.finish(by, [completed(store.claim(by, max_rows=1).jobs[0], b"[1]")])

    views = {view.id: (tenant, view.result) for tenant, view in store.views([done.id, waits.id, "f" * 32])}

    assert views == {done.id: (done.tenant_id, b"[1]"), waits.id: ("b", None)}
    assert row(database, done.id)["tenant_id"] == done.tenant_id


def test_a_replay_is_answered_also_when_the_service_has_stopped_since(store: SqlJobs, database: Database):
    (accepted,) = store.insert([alone(job(), key="k", body_hash=b"same")])
    with database.write() as connection:
        connection.execute(sa.update(tables.services).values(state="stopped"))

    replay, fresh = store.insert(
        [alone(job(), key="k", body_hash=b"same"), alone(job(), key="other", body_hash=b"same")]
    )

    assert replay.job_ids == accepted.job_ids
    assert isinstance(fresh, WrongState)
    assert count(database, tables.jobs) == 1


def test_a_claim_that_begins_when_a_commit_says_so_finds_what_it_commits(
    store: SqlJobs, by: Claimant, database: Database, database_url: str
):
    sent, claims, other = job(), list[Claim](), Database(database_url, StoreSettings())
    claiming = threading.Thread(target=lambda: claims.append(SqlJobs(other).claim(by, max_rows=1)))

    def soon() -> None:
        claiming.start()
        time.sleep(0.05)

    store.insert([alone(sent)], soon=soon)
    if database.is_sqlite:
        claiming.join(5)
    other.close()

    assert [[found.id for found in claim.jobs] for claim in claims] == ([[sent.id]] if database.is_sqlite else [])
