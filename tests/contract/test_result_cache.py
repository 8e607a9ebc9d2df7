"""What is kept of answers on both databases: found by predictions, told in figures, limited, and warmed up anew."""

import dataclasses
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from inference.access.model import Scope
from inference.ids import new_id
from inference.jobs.cache import key_of
from inference.jobs.cache_upkeep import Upkeep
from inference.jobs.commit import GroupCommit
from inference.jobs.model import Claimant
from inference.serving.model import Service, ServiceConfig
from inference.settings import JobsSettings
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.result_cache import SqlResultCache
from inference.store.services import SqlServices
from tests.contract import jobs
from tests.contract.equal import (
    FIRST,
    KEPT,
    NEXT_MODEL,
    SECOND,
    WHOLE,
    entries,
    keyed,
    run_one,
    send,
    set_entry,
    switch,
    used,
    worker,
)
from tests.contract.jobs import completed, job, queue, row
from tests.fakes_jobs import bare_ports


@pytest.fixture
def store(database: Database) -> SqlJobs:
    jobs.add_service(database)
    return SqlJobs(database)


@pytest.fixture
def by(store: SqlJobs, database: Database) -> Claimant:
    return worker(database)


@pytest.fixture
def cache(database: Database) -> SqlResultCache:
    return SqlResultCache(database)


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


class Bell:
    """Notes who was rung for."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring(self, service_id: str, *, slots: int) -> None:
        self.rung.append(service_id)

    def ring_early(self, service_id: str, *, slots: int) -> bool:
        return False


class Directory:
    """Always up to date. Only the model's id and its policy on NaN count."""

    def __init__(self, database: Database) -> None:
        self._services = SqlServices(database)

    def find(self, scope: Scope, service_id: str) -> tuple[Service, Any]:
        service = self._services.get(scope, service_id)
        return service, SimpleNamespace(id=service.model_id, deployment_config={})


def test_upkeep_sends_what_was_used_most_to_the_new_version_once_and_its_answers_are_kept(
    store: SqlJobs, by: Claimant, cache: SqlResultCache, database: Database
):
    for payload in (b"often", b"never"):
        run_one(store, by, payload)
    send(store, keyed(b"often"))
    config = json.dumps({"cache_ttl_s": 60.0, "cache_warm": 1})
    switch(database, NEXT_MODEL, revision=2, config=config)
    _add_replica(database, revision=2)
    bell, directory = Bell(), Directory(database)
    commit: Any = GroupCommit(store, bell, JobsSettings())  # type: ignore[arg-type]  # no `deliver`
    upkeep = Upkeep(bare_ports(store, cache=cache, directory=directory, commit=commit))

    done = [upkeep.turn(), upkeep.turn()]
    (claimed,) = store.claim(dataclasses.replace(by, model_id=NEXT_MODEL, variant=SECOND), max_rows=8).jobs
    next_by = dataclasses.replace(by, model_id=NEXT_MODEL, variant=SECOND, model_version="2.0.0")
    store.finish(next_by, [completed(claimed, b"[2]")], keep=KEPT)
    hit = keyed(b"often", who=SECOND)
    send(store, hit)

    assert (done, bell.rung) == ([1, 0], [jobs.SERVICE])
    assert (claimed.payload, claimed.priority, claimed.metadata_json) == (b"often", 0, '{"warm_up":true}')
    view = store.get(WHOLE, hit.id)
    assert (view.result, view.model_version, view.is_shared) == (b"[2]", "2.0.0", True)


def test_upkeep_asks_for_no_turn_while_nothing_is_kept(store: SqlJobs, cache: SqlResultCache):
    asked = []

    Upkeep(bare_ports(store, cache=cache), is_mine=lambda: bool(asked.append(1))).turn()

    assert asked == []
