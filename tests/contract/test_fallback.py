"""Jobs that go to another service than the one they were sent to, on both databases."""

import dataclasses
import threading

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import JobNotFound
from inference.ids import DEFAULT_TENANT
from inference.jobs.model import Claimant, JobState, Submission
from inference.jobs.shown import fields
from inference.serving.model import Desired, ServiceConfig, ServiceState
from inference.store import tables
from inference.store.database import Database
from inference.store.fallback import SqlFallback
from inference.store.jobs import SqlJobs
from inference.store.nodes import SqlNodes
from inference.store.replicas import SqlReplicas
from inference.store.services import SqlServices
from tests.contract import jobs
from tests.contract.jobs import SERVICE, completed, job, queue
from tests.contract.serving import make_replica, make_service

HEAVY = "6" * 32
TENANT = Scope(DEFAULT_TENANT)


@pytest.fixture
def fallback(database: Database) -> SqlFallback:
    return SqlFallback(database, silence_s=60.0)


@pytest.fixture
def heavy(database: Database, store: SqlJobs) -> str:
    return jobs.add_service(database, HEAVY, state="deploying")


def asked(store: SqlJobs, *job_ids: str) -> list[tuple[str, str | None]]:
    return [(view.service_id, view.asked_service_id) for view in (store.get(TENANT, job_id) for job_id in job_ids)]


def test_a_job_keeps_the_service_that_it_was_sent_to(store: SqlJobs, by: Claimant, heavy: str):
    moved, plain = job(asked_service_id=heavy), job()

    store.insert([Submission(tenant_id=DEFAULT_TENANT, jobs=(moved, plain))])
    claimed = {one.id: one.asked_service_id for one in store.claim(by, max_rows=10).jobs}

    assert claimed == {moved.id: heavy, plain.id: None}
    assert asked(store, moved.id, plain.id) == [(SERVICE, heavy), (SERVICE, None)]


def test_the_answer_says_who_gave_it(store: SqlJobs, by: Claimant, heavy: str):
    (job_id,) = queue(store, job(asked_service_id=heavy))
    (claimed,) = store.claim(by, max_rows=1).jobs

    store.finish(by, [completed(claimed)])

    shown = fields(store.get(TENANT, job_id), with_result=True)
    assert shown["service_id"] == heavy
    assert shown["answered_by"] == {"service_id": SERVICE, "model_version": "1.0.0"}


def test_keys_of_either_service_see_the_job_and_no_others(store: SqlJobs, heavy: str):
    (job_id,) = queue(store, job(asked_service_id=heavy))

    for service_id in (heavy, SERVICE):
        scope = Scope(DEFAULT_TENANT, service_id=service_id)
        assert store.get(scope, job_id).id == job_id
        assert job_id in store.histories(scope, [job_id])
    for scope in (Scope(DEFAULT_TENANT, service_id="7" * 32), Scope("other", service_id=heavy)):
        with pytest.raises(JobNotFound):
            store.get(scope, job_id)
    assert store.cancel(Scope(DEFAULT_TENANT, service_id=heavy), job_id) is JobState.CANCELLED


def test_what_has_waited_goes_over_in_its_place(store: SqlJobs, by: Claimant, fallback: SqlFallback, heavy: str):
    old = [job(service_id=heavy, submitted_at=1000.0, order_key=float(key)) for key in (3, 1, 2)]
    new, own = job(service_id=heavy), job(order_key=1.5)
    queue(store, *old, new, own)

    moved = fallback.hand_over(heavy, SERVICE, older_than_s=5.0, limit=2)
    rest = fallback.hand_over(heavy, SERVICE, older_than_s=5.0, limit=2)

    assert (moved, rest) == (2, 1)
    assert asked(store, new.id, own.id) == [(heavy, None), (SERVICE, None)]
    assert [one.id for one in store.claim(by, max_rows=10).jobs] == [old[1].id, own.id, old[2].id, old[0].id]


def test_who_goes_over_twice_was_asked_of_the_first(
    store: SqlJobs, fallback: SqlFallback, heavy: str, database: Database
):
    jobs.add_service(database, "7" * 32)
    (job_id,) = queue(store, job(service_id=heavy, submitted_at=1000.0))

    fallback.hand_over(heavy, SERVICE, older_than_s=5.0, limit=10)
    fallback.hand_over(SERVICE, "7" * 32, older_than_s=5.0, limit=10)

    assert asked(store, job_id) == [("7" * 32, heavy)]


def test_what_runs_or_is_over_stays(store: SqlJobs, by: Claimant, fallback: SqlFallback):
    queue(store, *(job(submitted_at=1000.0) for _ in range(3)))
    claimed = store.claim(by, max_rows=2).jobs
    store.finish(by, [completed(claimed[0])])

    assert fallback.hand_over(SERVICE, HEAVY, older_than_s=5.0, limit=10) == 1


def test_of_claims_and_handing_over_at_once_each_job_has_one(
    store: SqlJobs, by: Claimant, fallback: SqlFallback, database: Database
):
    jobs.add_service(database, HEAVY)
    other = jobs.add_instance(database, HEAVY)
    ids = queue(store, *(job(submitted_at=1000.0) for _ in range(60)))
    taken: dict[str, list[str]] = {"own": [], "other": []}

    def hand_over() -> None:
        while fallback.hand_over(SERVICE, HEAVY, older_than_s=5.0, limit=4):
            pass

    def claim(name: str, who: Claimant) -> None:
        for _ in range(12):
            taken[name] += [one.id for one in store.claim(who, max_rows=3).jobs]

    threads = [
        threading.Thread(target=hand_over),
        threading.Thread(target=claim, args=("own", by)),
        threading.Thread(target=claim, args=("other", other)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claim("other", other)
    claim("other", other)

    assert sorted(taken["own"] + taken["other"]) == sorted(ids)
    assert {service for service, _ in asked(store, *taken["own"])} <= {SERVICE}


def test_a_service_has_room_while_a_replica_is_meant_to_run_on_a_living_node(
    database: Database, store: SqlJobs, fallback: SqlFallback
):
    nodes, replicas = SqlNodes(database), SqlReplicas(database)
    replica = make_replica(SERVICE, node_id="n")
    nothing = fallback.is_held(SERVICE)
    nodes.beat("n", host="h", inventory={})
    replicas.insert(replica)

    there = fallback.is_held(SERVICE)
    with database.write() as connection:
        connection.execute(sa.update(tables.nodes).values(heartbeat_at=0.0))
    silent = fallback.is_held(SERVICE)
    nodes.beat("n", host="h", inventory={})
    replicas.set_desired(replica.id, Desired.STOPPED)

    assert (nothing, there, silent, fallback.is_held(SERVICE)) == (False, True, False, False)


def test_services_that_name_a_fallback_and_are_meant_to_run_are_found(database: Database, fallback: SqlFallback):
    services = SqlServices(database)
    config = ServiceConfig(fallback_service_id="f" * 32)
    states = (ServiceState.DEPLOYING, ServiceState.PREEMPTED, ServiceState.RUNNING, ServiceState.STOPPED)
    for state in states:
        services.insert(make_service(state.value, state=state, config=config))
    services.insert(dataclasses.replace(make_service("none", state=ServiceState.RUNNING)))

    assert {service.name for service in fallback.naming()} == {"deploying", "preempted", "running"}
