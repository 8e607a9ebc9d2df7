"""The promises of the serving stores, on SQLite and PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from inference.errors import DeploymentNotFound, NameExists, ServiceNotFound, WrongState
from inference.ids import new_id
from inference.serving import config as configs
from inference.serving.model import (
    Deployment,
    Desired,
    Observed,
    Profile,
    Replica,
    Service,
    ServiceConfig,
    ServiceState,
)
from inference.store import tables
from inference.store.database import Database
from inference.store.deployments import SqlDeployments
from inference.store.instances import SqlInstances
from inference.store.nodes import SqlNodes
from inference.store.profiles import SqlProfiles
from inference.store.replicas import SqlReplicas
from inference.store.services import SqlServices
from inference.store.ticks import SqlTicks

S = ServiceState


def make_service(name="one", *, tenant_id="t", state=S.PENDING, config=None) -> Service:
    return Service(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        model_id=new_id(),
        state=state,
        config=config or ServiceConfig(),
        revision=1,
        created_at=5.0,
        updated_at=5.0,
    )


def make_replica(service_id="s", ordinal=0, *, node_id="n1") -> Replica:
    return Replica(
        id=new_id(),
        service_id=service_id,
        ordinal=ordinal,
        node_id=node_id,
        device="cpu",
        desired=Desired.RUNNING,
        observed=Observed.PENDING,
        generation=0,
        revision=1,
        instances=2,
        instances_ready=0,
        load_failures=0,
        restarts=0,
    )


@pytest.fixture
def services(database: Database) -> SqlServices:
    return SqlServices(database)


@pytest.fixture
def replicas(database: Database) -> SqlReplicas:
    return SqlReplicas(database)


@pytest.fixture
def instances(database: Database) -> SqlInstances:
    return SqlInstances(database)


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_a_service_reads_back_as_it_was_written(services: SqlServices):
    config = configs.read({"replicas": 3, "resource_requirements": {"cpu": 1, "memory": "1Gi"}, "max_batch": 8})
    service = make_service(config=config)

    services.insert(service)

    assert services.get("t", service.id) == service


def test_a_name_is_used_once_per_tenant(services: SqlServices):
    services.insert(make_service("same"))
    services.insert(make_service("same", tenant_id="other"))

    with pytest.raises(NameExists, match="'same' exists"):
        services.insert(make_service("same"))


def test_another_tenant_does_not_see_a_service(services: SqlServices):
    service = make_service()
    services.insert(service)

    with pytest.raises(ServiceNotFound):
        services.get("other", service.id)
    with pytest.raises(ServiceNotFound):
        services.events("other", service.id)
    assert services.list("other") == []


def test_services_are_listed_newest_first_by_state_and_in_pages(services: SqlServices):
    made = [make_service(f"n{i}", state=S.RUNNING if i % 2 else S.STOPPED) for i in range(4)]
    for service in made:
        services.insert(service)
    names = [service.name for service in services.list("t")]

    assert names == [service.name for service in sorted(made, key=lambda one: one.id, reverse=True)]
    assert {service.name for service in services.list("t", state=S.RUNNING)} == {"n1", "n3"}
    assert [service.name for service in services.list("t", limit=2)] == names[:2]
    cursor = services.list("t", limit=2)[-1].id
    assert [service.name for service in services.list("t", before_id=cursor)] == names[2:]


def test_a_move_happens_from_an_allowed_state_only_and_is_noted(services: SqlServices):
    service = make_service()
    services.insert(service)

    moved = services.move(service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked")
    again = services.move(service.id, allowed=[S.PENDING], to=S.DEPLOYING, reason="asked twice")

    assert moved is not None
    assert (moved.state, moved.reason) == (S.DEPLOYING, "asked")
    assert moved.started_at is not None
    assert again is None
    events = services.events("t", service.id)
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
        return services.move(service.id, allowed=[S.RUNNING], to=S.STOPPING, reason="race")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(move, range(6)))

    assert sum(answer is not None for answer in answers) == 1
    assert len(services.events("t", service.id)) == 2


def test_a_running_service_shows_no_reason_and_a_stopping_one_when_it_was_asked(services: SqlServices):
    service = make_service(state=S.DEPLOYING)
    services.insert(service)

    running = services.move(service.id, allowed=[S.DEPLOYING], to=S.RUNNING, reason="1 of 1 replicas ready")
    stopping = services.move(service.id, allowed=[S.RUNNING], to=S.STOPPING, reason="by request")

    assert running is not None
    assert stopping is not None
    assert (running.reason, running.stopped_at) == (None, None)
    assert (stopping.reason, stopping.stopped_at is not None) == ("by request", True)


def test_a_reason_can_be_given_without_a_move(services: SqlServices):
    service = make_service(state=S.RUNNING)
    services.insert(service)

    services.explain(service.id, reason="no room", suggested_action="add a node")

    found = services.get("t", service.id)
    assert (found.state, found.reason, found.suggested_action) == (S.RUNNING, "no room", "add a node")


def test_a_new_size_is_no_new_revision_and_a_new_config_is(services: SqlServices):
    service = make_service()
    services.insert(service)

    scaled = services.configure(service.id, config=ServiceConfig(replicas=4), replicas_only=True)
    changed = services.configure(service.id, config=ServiceConfig(max_batch=2), replicas_only=False)

    assert (scaled.revision, scaled.config.replicas, scaled.scaled_at is not None) == (1, 4, True)
    assert (changed.revision, changed.config.max_batch) == (2, 2)
    with pytest.raises(ServiceNotFound):
        services.configure(new_id(), config=ServiceConfig(), replicas_only=True)


def test_watched_are_those_meant_to_run_those_stopping_and_those_with_replicas(
    services: SqlServices, replicas: SqlReplicas
):
    made = {state: make_service(state.value, state=state) for state in S}
    for service in made.values():
        services.insert(service)
    replicas.insert(make_replica(made[S.ERROR].id))

    watched = {service.state for service in services.watched()}

    assert watched == {S.DEPLOYING, S.RUNNING, S.STOPPING, S.ERROR}


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

    services.delete(gone.id)
    services.delete(gone.id)

    with pytest.raises(ServiceNotFound):
        services.get("t", gone.id)
    one_each = (tables.services, tables.replicas, tables.instances, tables.service_events)
    assert [count(database, table) for table in one_each] == [1, 1, 1, 1]
    side = (tables.jobs, tables.payloads, tables.results, tables.attempts)
    assert [count(database, table) for table in side] == [3, 3, 3, 3]


def test_delete_takes_more_jobs_than_one_transaction_holds(services: SqlServices, database: Database, monkeypatch):
    monkeypatch.setattr("inference.store.services.DELETE_CHUNK", 10)
    service = make_service()
    services.insert(service)
    insert_jobs(database, service.id, 35)

    services.delete(service.id)

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


def test_a_replica_reads_back_and_an_ordinal_is_taken_once(replicas: SqlReplicas):
    first, second = make_replica(), make_replica()

    replicas.insert(first)
    replicas.insert(second)

    (found,) = replicas.all()
    assert found.id == first.id
    assert found.reported_at > 1e9
    assert replicas.get(second.id) is None
    assert replicas.of_service("s") == replicas.of_node("n1") == [found]
    assert replicas.of_node("n2") == []


def test_each_beginning_is_a_generation_that_fences_the_one_before(replicas: SqlReplicas):
    replica = make_replica()
    replicas.insert(replica)

    first, second = replicas.begin(replica.id), replicas.begin(replica.id)

    assert (first, second) == (1, 2)
    assert not replicas.report(replica.id, 1, observed=Observed.READY, instances_ready=2)
    assert replicas.report(replica.id, 2, observed=Observed.READY, instances_ready=2, pid=7)
    found = replicas.get(replica.id)
    assert found is not None
    assert (found.observed, found.instances_ready, found.pid) == (Observed.READY, 2, 7)


def test_a_replica_that_should_stop_or_is_gone_cannot_begin(replicas: SqlReplicas):
    replica = make_replica()
    replicas.insert(replica)
    replicas.set_desired(replica.id, Desired.STOPPED)

    assert replicas.begin(replica.id) == 0
    replicas.delete(replica.id)
    assert replicas.begin(replica.id) == 0


def test_a_late_ready_does_not_undo_draining(replicas: SqlReplicas):
    replica = make_replica()
    replicas.insert(replica)
    generation = replicas.begin(replica.id)
    replicas.report(replica.id, generation, observed=Observed.DRAINING)

    assert replicas.report(replica.id, generation, observed=Observed.READY, instances_ready=1)

    found = replicas.get(replica.id)
    assert found is not None
    assert found.observed is Observed.DRAINING


def test_load_failures_count_up_until_the_replica_is_ready(replicas: SqlReplicas):
    replica = make_replica()
    replicas.insert(replica)
    generation = replicas.begin(replica.id)

    counts = [replicas.note_load_failure(replica.id, generation, reason="bad file") for _ in range(2)]
    again = replicas.begin(replica.id)
    counts.append(replicas.note_load_failure(replica.id, again, reason="bad file"))
    fenced = replicas.note_load_failure(replica.id, generation, reason="late")

    assert (counts, fenced) == ([1, 2, 3], 0)
    replicas.report(replica.id, again, observed=Observed.READY)
    found = replicas.get(replica.id)
    assert found is not None
    assert (found.load_failures, found.reason) == (0, None)


def test_what_no_longer_runs_has_no_pid_and_restarts_are_counted(replicas: SqlReplicas):
    replica = make_replica()
    replicas.insert(replica)
    generation = replicas.begin(replica.id)
    replicas.report(replica.id, generation, observed=Observed.READY, instances_ready=2, pid=7)

    replicas.report(replica.id, generation, observed=Observed.PENDING, reason="killed", restarted=True)

    found = replicas.get(replica.id)
    assert found is not None
    assert (found.pid, found.instances_ready, found.restarts, found.reason) == (None, 0, 1, "killed")


def open_one(instances: SqlInstances, slot: int = 0, generation: int = 1) -> tuple[str, int]:
    return instances.open(service_id="s", replica_id="r", slot=slot, replica_generation=generation, pid=1, lease_s=30)


def test_a_fresh_instance_ends_the_one_in_its_slot(instances: SqlInstances):
    first, other = open_one(instances), open_one(instances, slot=1)

    second = open_one(instances)

    assert second != first
    assert instances.renew(dict([first]), lease_s=30) == frozenset()
    assert instances.renew(dict([second, other]), lease_s=30) == {second[0], other[0]}
    assert instances.renew({}, lease_s=30) == frozenset()


def test_an_ended_instance_cannot_be_renewed(instances: SqlInstances):
    held = open_one(instances)

    instances.end(*held)

    assert instances.renew(dict([held]), lease_s=30) == frozenset()


def test_ending_an_earlier_generation_leaves_the_present_one(instances: SqlInstances):
    earlier = open_one(instances)
    present = open_one(instances)

    instances.end(*earlier)

    assert instances.renew(dict([present]), lease_s=30) == {present[0]}


def test_ending_a_replica_ends_its_open_instances_once(instances: SqlInstances):
    held = dict([open_one(instances), open_one(instances, slot=1)])

    assert (instances.end_replica("r"), instances.end_replica("r")) == (2, 0)
    assert instances.renew(held, lease_s=30) == frozenset()


def test_a_worker_of_an_earlier_generation_opens_no_instance(instances: SqlInstances, replicas: SqlReplicas):
    replica = make_replica()
    replicas.insert(replica)
    replicas.begin(replica.id)
    replicas.begin(replica.id)
    values = {"service_id": "s", "replica_id": replica.id, "slot": 0, "pid": 1, "lease_s": 5}

    with pytest.raises(WrongState, match="is over"):
        instances.open(**values, replica_generation=1)

    assert instances.open(**values, replica_generation=2)[1] == 1


def test_instances_go_with_their_replica(instances: SqlInstances, replicas: SqlReplicas, database: Database):
    replica = make_replica()
    replicas.insert(replica)
    instances.open(service_id="s", replica_id=replica.id, slot=0, replica_generation=0, pid=1, lease_s=5)

    replicas.delete(replica.id)

    assert count(database, tables.instances) == 0


def test_a_node_is_alive_while_it_is_heard(database: Database):
    nodes = SqlNodes(database)
    nodes.beat("n1", host="h", inventory={"cpus": 2})
    nodes.beat("n1", host="h", inventory={"cpus": 4})

    (alive,), (silent,) = nodes.list(silence_s=10), nodes.list(silence_s=-1)

    assert (alive.is_alive, silent.is_alive) == (True, False)
    assert alive.inventory == {"cpus": 4}


def test_a_duty_is_taken_once_per_period(database: Database):
    ticks = SqlTicks(database)

    taken = [ticks.take("reconcile", every_s=30, by=str(i)) for i in range(3)]

    assert taken == [True, False, False]
    assert ticks.take("reconcile", every_s=0, by="later")
    assert ticks.take("other", every_s=30, by="a")


def test_of_many_takers_one_has_the_duty(database: Database):
    ticks = SqlTicks(database)
    start = threading.Barrier(6)

    def take(number: int) -> bool:
        start.wait()
        return ticks.take("sweep", every_s=30, by=str(number))

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(6))) == 1


def test_a_clock_that_was_set_back_does_not_stop_a_duty(database: Database):
    ticks = SqlTicks(database)
    ticks.take("sweep", every_s=30, by="a")
    with database.write() as connection:
        connection.execute(sa.update(tables.ticks).values(taken_at=tables.ticks.c.taken_at + 3600))

    assert ticks.take("sweep", every_s=30, by="b")


def test_the_age_of_a_duty_is_told(database: Database):
    ticks = SqlTicks(database)
    assert ticks.age_s("sweep") is None

    ticks.take("sweep", every_s=1, by="a")

    age_s = ticks.age_s("sweep")
    assert age_s is not None
    assert 0 <= age_s < 5


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

    assert deployments.get("t", made.id) == made
    assert deployments.list("t") == deployments.list("t", model_id="m") == [made]
    assert deployments.list("t", model_id="other") == deployments.list("t", before_id=made.id) == []
    with pytest.raises(DeploymentNotFound):
        deployments.get("other", made.id)
