"""Equal inputs on both databases: what is kept answers what comes, and one run answers all that wait."""

import dataclasses
import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.cache import key_of, variant
from inference.jobs.cache_model import Keep
from inference.jobs.model import Accepted, Claimant, JobState, NewJob, Submission
from inference.serving.model import ServiceConfig
from inference.settings import StoreSettings
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.result_cache import SqlResultCache
from inference.store.services import SqlServices
from inference.tensors import NanPolicy
from tests.contract import jobs
from tests.contract.jobs import attempts, change, completed, ended, job, queue, row, states, stored_result

MODEL, NEXT_MODEL = "a" * 32, "b" * 32
FIRST, SECOND = variant(MODEL, NanPolicy.NULL), variant(NEXT_MODEL, NanPolicy.NULL)
KEPT = Keep(ttl_s=60.0, has_inputs=True)
WHOLE = Scope(DEFAULT_TENANT)
URL = "https://example.com/hook"


@pytest.fixture
def store(database: Database) -> SqlJobs:
    jobs.add_service(database)
    return SqlJobs(database)


@pytest.fixture
def by(store: SqlJobs, database: Database) -> Claimant:
    return dataclasses.replace(jobs.add_instance(database), model_id=MODEL, variant=FIRST)


@pytest.fixture
def cache(database: Database) -> SqlResultCache:
    return SqlResultCache(database)


def keyed(payload: bytes = b"payload", *, who: str = FIRST, **changes: Any) -> NewJob:
    return job(payload=payload, input_key=key_of(who, payload), **changes)


def send(store: SqlJobs, *new: NewJob) -> Accepted:
    """As a service with a cache sends them."""
    (answer,) = store.insert([Submission(tenant_id=DEFAULT_TENANT, jobs=new, may_hit=True)])
    assert isinstance(answer, Accepted), answer
    return answer


def run_one(store: SqlJobs, by: Claimant, payload: bytes = b"payload", keep: Keep | None = KEPT) -> NewJob:
    sent = keyed(payload)
    queue(store, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed)], keep=keep)
    return sent


def used(database: Database) -> tuple[int, int, float]:
    with database.read() as connection:
        found = connection.execute(sa.text("SELECT sum(jobs), sum(rows), sum(engine_s) FROM usage")).one()
    return int(found[0]), int(found[1]), float(found[2])


def events(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(tables.outbox.c.id).order_by(tables.outbox.c.id)).scalars())


def entries(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(sa.select(tables.result_cache).order_by(tables.result_cache.c.used_at)).all())


def set_entry(database: Database, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(tables.result_cache.update().values(**values))


def switch(database: Database, model_id: str, **config: Any) -> None:
    with database.write() as connection:
        connection.execute(tables.services.update().values(model_id=model_id, **config))


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


# What is kept.


def test_predictions_keep_and_find_answers_too(store: SqlJobs, by: Claimant, cache: SqlResultCache, database: Database):
    queue(store, keyed())
    (claimed,) = store.claim(by, max_rows=1).jobs
    service = SqlServices(database).get(WHOLE, jobs.SERVICE)
    cache.put(by, [completed(claimed, b"[7]")], KEPT)

    def find(payload: bytes = b"payload", who: Any = service) -> Any:
        return cache.find(who, key_of(FIRST, payload), key_id=None, rows=2, now_s=time.time())

    found, missed = find(), find(b"another")
    of_others = find(who=dataclasses.replace(service, tenant_id="somebody"))
    find()
    cache.flush()

    assert (found.body, found.model_version, missed, of_others) == (b"[7]", "1.0.0", None, None)
    assert entries(database)[0].hits == 2
    assert used(database) == (2, 4, 0.0)


def test_figures_tell_what_a_cache_did_and_clearing_empties_it(
    store: SqlJobs, by: Claimant, cache: SqlResultCache, database: Database
):
    run_one(store, by)
    run_one(store, by, b"another")
    send(store, keyed(), keyed(), keyed(b"new"))

    before = cache.used(WHOLE, jobs.SERVICE)
    removed, after = cache.clear(WHOLE, jobs.SERVICE), cache.used(WHOLE, jobs.SERVICE)

    assert (before.entries, before.hits, before.misses, before.coalesced, before.former) == (2, 2, 2, 0, 0)
    assert before.size_bytes > 2 * len(b'{"y": [[1.0]]}')
    assert (removed, after.entries, after.size_bytes) == (2, 0, 0)
    assert send(store, keyed()).cached_ids == frozenset()


def test_the_limit_of_bytes_takes_what_was_used_least_lately(
    store: SqlJobs, by: Claimant, cache: SqlResultCache, database: Database
):
    for number in range(4):
        run_one(store, by, b"%d" % number)
        with database.write() as connection:
            key = key_of(FIRST, b"%d" % number)
            mine = tables.result_cache.c.input_key == key
            connection.execute(tables.result_cache.update().where(mine).values(used_at=float(number)))
    service = SqlServices(database).get(WHOLE, jobs.SERVICE)
    each = entries(database)[0].size_bytes
    small = dataclasses.replace(service, config=ServiceConfig(cache_max_bytes=2 * each))

    first, then = cache.trim(small, limit=1), cache.trim(small, limit=10)

    assert (first, then, cache.trim(small, limit=10), cache.trim(service, limit=10)) == (1, 1, 0, 0)
    assert [one.used_at for one in entries(database)] == [2.0, 3.0]
    assert [one.id for one in cache.owners()] == [jobs.SERVICE]


def test_what_is_over_or_of_a_former_version_goes_and_so_does_what_a_service_left(
    store: SqlJobs, by: Claimant, cache: SqlResultCache, database: Database
):
    run_one(store, by)
    now_other = dataclasses.replace(SqlServices(database).get(WHOLE, jobs.SERVICE), model_id=NEXT_MODEL)

    fresh = cache.forget(now_other, limit=10)
    set_entry(database, used_at=time.time() - 7_200)
    old = cache.forget(now_other, limit=10)
    run_one(store, by)
    set_entry(database, expires_at=time.time() - 1)
    over = cache.forget(SqlServices(database).get(WHOLE, jobs.SERVICE), limit=10)
    run_one(store, by)
    set_entry(database, service_id="6" * 32)

    assert (fresh, old, over) == (0, 1, 1)
    assert (cache.forget_orphans(), entries(database)) == (1, [])


def test_inputs_used_most_are_told_once_when_the_next_version_has_taken_over(
    store: SqlJobs, by: Claimant, cache: SqlResultCache, database: Database
):
    for payload in (b"rare", b"often", b"never"):
        run_one(store, by, payload)
    send(store, keyed(b"often"), keyed(b"often"), keyed(b"rare"))
    switch(database, NEXT_MODEL, revision=2)
    service = SqlServices(database).get(WHOLE, jobs.SERVICE)
    service = dataclasses.replace(service, config=ServiceConfig(cache_warm=2, cache_ttl_s=60.0))

    too_early = cache.warmings(service)
    _add_replica(database, revision=2)
    told, again = cache.warmings(service), cache.warmings(service)

    assert too_early is None
    assert told is not None
    assert [one.payload for one in told] == [b"often", b"rare"]
    assert again == ()


def _add_replica(database: Database, *, revision: int) -> None:
    numbers = ("ordinal", "instances", "instances_ready", "load_failures", "restarts", "generation")
    with database.write() as connection:
        connection.execute(
            tables.replicas.insert(),
            dict.fromkeys(numbers, 0)
            | {"id": new_id(), "service_id": jobs.SERVICE, "node_id": "n", "device": "cpu", "revision": revision}
            | {"desired": "running", "observed": "ready", "reported_at": 0.0},
        )


def test_the_end_of_a_service_is_the_end_of_what_it_kept(store: SqlJobs, by: Claimant, database: Database):
    run_one(store, by)

    SqlServices(database).delete(WHOLE, jobs.SERVICE)

    assert (entries(database), row_count(database)) == ([], 0)


def row_count(database: Database) -> int:
    return jobs.count(database, tables.jobs)


def test_a_job_without_a_key_is_as_it_was(store: SqlJobs, by: Claimant, database: Database):
    sent = job()
    queue(store, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs

    _, claim = store.finish(by, [completed(claimed)], keep=KEPT)

    assert (claimed.input_key, row(database, sent.id)["input_key"], claim.shared_ids) == (None, None, ())
    assert entries(database) == []
