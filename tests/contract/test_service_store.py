"""The promises of the stores of services, deployments and profiles, on SQLite and PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import DeploymentNotFound, NameExists, ServiceNotFound
from inference.ids import new_id
from inference.serving import config as configs
from inference.serving.model import (
    Deployment,
    Profile,
    ServiceConfig,
    ServiceState,
)
from inference.store import tables
from inference.store.database import Database
from inference.store.deployments import SqlDeployments
from inference.store.instances import SqlInstances
from inference.store.profiles import SqlProfiles
from inference.store.replicas import SqlReplicas
from inference.store.services import SqlServices
from tests.contract.serving import count, make_replica, make_service

S = ServiceState


@pytest.fixture
def services(database: Database) -> SqlServices:
    return SqlServices(database)


@pytest.fixture
def replicas(database: Database) -> SqlReplicas:
    return SqlReplicas(database)


@pytest.fixture
def instances(database: Database) -> SqlInstances:
    return SqlInstances(database)


def test_a_service_reads_back_as_it_was_written(services: SqlServices):
    config = configs.read({"replicas": 3, "resource_requirements": {"cpu": 1, "memory": "1Gi"}, "max_batch": 8})
    service = make_service(config=config)

    services.insert(service)

    assert services.get(Scope("t"), service.id) == service


def test_a_name_is_used_once_per_tenant(services: SqlServices):
    services.insert(make_service("same"))
    services.insert(make_service("same", tenant_id="other"))

    with pytest.raises(NameExists, match="'same' exists"):
        services.insert(make_service("same"))


def test_another_tenant_does_not_see_a_service(services: SqlServices):
    service = make_service()
    services.insert(service)

    with pytest.raises(ServiceNotFound):
        services.get(Scope("other"), service.id)
    with pytest.raises(ServiceNotFound):
        services.events(Scope("other"), service.id)
    assert services.list(Scope("other")) == []


def test_services_are_listed_newest_first_by_state_and_in_pages(services: SqlServices):
    made = [make_service(f"n{i}", state=S.RUNNING if i % 2 else S.STOPPED) for i in range(4)]
    for service in made:
        services.insert(service)
    names = [service.name for service in services.list(Scope("t"))]

    assert names == [service.name for service in sorted(made, key=lambda one: one.id, reverse=True)]
    assert {service.name for service in services.list(Scope("t"), state=S.RUNNING)} == {"n1", "n3"}
    assert [service.name for service in services.list(Scope("t"), limit=2)] == names[:2]
    cursor = services.list(Scope("t"), limit=2)[-1].id
    assert [service.name for service in services.list(Scope("t"), before_id=cursor)] == names[2:]


def test_a_move_happens_from_an_allowed_state_only_and_is_noted(services: SqlServices):
    service = make_service()
    services.insert(service)

    moved = services.move(Scope("t"), service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked")
    again = services.move(Scope("t"), service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked twice")

    assert moved is not None
    assert (moved.state, moved.reason) == (S.DEPLOYING, "asked")
    assert moved.started_at is not None
    assert again is None
    events = services.events(Scope("t"), service.id)
    assert [(e.from_state, e.to_state, e.reason) for e in events] == [
        ("pending", "deploying", "asked"),
        ("", "pending", "created"),
    ]


def test_of_many_movers_one_wins_and_one_event_is_written(services: SqlServices):
    service = make_service(state=S.RUNNING)
    services.insert(service)
    start = threading.Barrier(6)

    def move(_: int) -> object:
        start.wait()
        return services.move(Scope("t"), service.id, allowed=[S.RUNNING], to=S.STOPPING, reason="race")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(move, range(6)))

    assert sum(answer is not None for answer in answers) == 1
    assert len(services.events(Scope("t"), service.id)) == 2


def test_a_running_service_shows_no_reason_and_a_stopping_one_when_it_was_asked(services: SqlServices):
    service = make_service(state=S.DEPLOYING)
    services.insert(service)

    running = services.move(Scope("t"), service.id, allowed=[S.DEPLOYING], to=S.RUNNING, reason="1 of 1 replicas ready")
    stopping = services.move(Scope("t"), service.id, allowed=[S.RUNNING], to=S.STOPPING, reason="by request")

    assert running is not None
    assert stopping is not None
    assert (running.reason, running.stopped_at) == (None, None)
    assert (stopping.reason, stopping.stopped_at is not None) == ("by request", True)


def test_a_reason_can_be_given_without_a_move(services: SqlServices):
    service = make_service(state=S.RUNNING)
    services.insert(service)

    services.explain(service.id, reason="no room", suggested_action="add a node")

    found = services.get(Scope("t"), service.id)
    assert (found.state, found.reason, found.suggested_action) == (S.RUNNING, "no room", "add a node")


def test_a_new_size_is_no_new_revision_and_a_new_config_is(services: SqlServices):
    service = make_service()
    services.insert(service)

    scaled = services.configure(Scope("t"), service.id, config=ServiceConfig(replicas=4), replicas_only=True)
    changed = services.configure(Scope("t"), service.id, config=ServiceConfig(max_batch=2), replicas_only=False)
    model_id = new_id()
    switched = services.configure(Scope("t"), service.id, config=changed.config, replicas_only=False, model_id=model_id)

    assert (scaled.revision, scaled.config.replicas, scaled.scaled_at is not None) == (1, 4, True)
    assert (changed.revision, changed.config.max_batch, changed.model_id) == (2, 2, service.model_id)
    assert (switched.revision, switched.config.max_batch, switched.model_id) == (3, 2, model_id)
    with pytest.raises(ServiceNotFound):
        services.configure(Scope("t"), new_id(), config=ServiceConfig(), replicas_only=True)


def test_watched_are_those_that_run_or_will_those_stopping_and_those_with_replicas(
    services: SqlServices, replicas: SqlReplicas
):
    made = {state: make_service(state.value, state=state) for state in S}
    for service in made.values():
        services.insert(service)
    replicas.insert(make_replica(made[S.ERROR].id))

    watched = {service.state for service in services.watched()}

    assert watched == {S.DEPLOYING, S.RUNNING, S.PREEMPTED, S.STOPPING, S.ERROR}


def test_delete_removes_all_that_hangs_on_a_service_and_nothing_else(
    services: SqlServices, replicas: SqlReplicas, instances: SqlInstances, database: Database
):
    gone, stays = make_service("gone"), make_service("stays")
    for service in (gone, stays):
        services.insert(service)
        replica = make_replica(service.id)
        replicas.insert(replica)
        instances.open(service_id=service.id, replica_id=replica.id, slot=0, replica_generation=0, pid=1, lease_s=5)
        insert_jobs(database, service.id, 3)

    services.delete(Scope("t"), gone.id)

    for look in (services.get, services.delete):
        with pytest.raises(ServiceNotFound):
            look(Scope("t"), gone.id)
    one_each = (tables.services, tables.replicas, tables.instances, tables.service_events)
    assert [count(database, table) for table in one_each] == [1, 1, 1, 1]
    side = (tables.jobs, tables.payloads, tables.results, tables.attempts)
    assert [count(database, table) for table in side] == [3, 3, 3, 3]


def test_delete_takes_more_jobs_than_one_transaction_holds(services: SqlServices, database: Database, monkeypatch):
    monkeypatch.setattr("inference.store.services.DELETE_CHUNK", 10)
    service = make_service()
    services.insert(service)
    insert_jobs(database, service.id, 35)

    services.delete(Scope("t"), service.id)

    assert count(database, tables.jobs) == 0
    assert count(database, tables.payloads) == 0


def insert_jobs(database: Database, service_id: str, number: int) -> None:
    with database.write() as connection:
        for _ in range(number):
            job_id = new_id()
            job = {
                "id": job_id,
                "tenant_id": "t",
                "service_id": service_id,
                "state": "completed",
                "priority": 0,
                "order_key": 0.0,
                "submitted_at": 0.0,
                "timeout_s": 1.0,
                "bucket": "",
                "rows": 1,
                "max_attempts": 3,
            }
            connection.execute(sa.insert(tables.jobs), job)
            connection.execute(sa.insert(tables.payloads), {"job_id": job_id, "body": b"x"})
            connection.execute(sa.insert(tables.results), {"job_id": job_id, "body": b"x"})
            attempt = {"job_id": job_id, "generation": 1, "attempt": 1, "ended_at": 0.0, "outcome": "completed"}
            connection.execute(sa.insert(tables.attempts), attempt)


def test_the_last_profile_counts(database: Database):
    profiles = SqlProfiles(database)
    first = Profile(
        model_id="m", device_kind="cpu", provider="cpu", max_batch=8, curve=((1, 2.0, 3.0),), measured_at=1.0
    )
    second = Profile(
        model_id="m",
        device_kind="cpu",
        provider="cpu",
        max_batch=16,
        curve=((1, 1.0, 1.5), (2, 1.2, 2.0)),
        measured_at=2.0,
    )

    profiles.put(first)
    profiles.put(second)

    assert profiles.get("m", "cpu") == second
    assert profiles.of_model("m") == [second]
    assert profiles.get("m", "gpu") is None


def test_a_deployment_reads_back_for_its_tenant_alone(database: Database):
    deployments = SqlDeployments(database)
    made = Deployment(
        id=new_id(),
        tenant_id="t",
        model_id="m",
        service_id="s",
        environment="production",
        config={"replicas": 2},
        created_at=3.0,
    )

    deployments.insert(made)

    assert deployments.get(Scope("t"), made.id) == made
    assert deployments.list(Scope("t")) == deployments.list(Scope("t"), model_id="m") == [made]
    assert deployments.list(Scope("t"), model_id="other") == deployments.list(Scope("t"), before_id=made.id) == []
    with pytest.raises(DeploymentNotFound):
        deployments.get(Scope("other"), made.id)
