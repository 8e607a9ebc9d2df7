"""The promises of the stores of replicas, instances, nodes and ticks, on SQLite and PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from inference.errors import WrongState
from inference.serving.model import (
    Desired,
    Observed,
)
from inference.store import tables
from inference.store.database import Database
from inference.store.instances import SqlInstances
from inference.store.nodes import SqlNodes
from inference.store.replicas import SqlReplicas
from inference.store.services import SqlServices
from inference.store.ticks import SqlTicks
from tests.contract.serving import count, make_replica


@pytest.fixture
def services(database: Database) -> SqlServices:
    return SqlServices(database)


@pytest.fixture
def replicas(database: Database) -> SqlReplicas:
    return SqlReplicas(database)


@pytest.fixture
def instances(database: Database) -> SqlInstances:
    return SqlInstances(database)


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


def test_a_row_that_changed_is_read_anew_and_the_others_are_not(replicas: SqlReplicas):
    for ordinal in range(2):
        replicas.insert(make_replica(ordinal=ordinal))
    before = replicas.all()

    replicas.begin(before[0].id)
    after = replicas.all()
    replicas.delete(before[0].id)

    assert (before[0].generation, after[0].generation) == (0, 1)
    assert after[1] is before[1]
    assert replicas.all() == after[1:]


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


def test_a_node_that_signed_off_is_not_alive(database):
    nodes = SqlNodes(database)
    nodes.beat("n1", host="h", inventory={})

    nodes.leave("n1")

    assert nodes.list(silence_s=15) == []
