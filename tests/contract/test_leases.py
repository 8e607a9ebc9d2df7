"""Leases: no sum ever exceeds what there is, whoever asks at once; on SQLite and PostgreSQL."""

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from inference.resources.fit import Size
from inference.resources.leases import Ask, Lease, LeaseState
from inference.serving.model import Desired, Observed, Replica
from inference.store import tables
from inference.store.database import Database
from inference.store.leases import SqlLeases
from inference.store.nodes import SqlNodes
from inference.store.replicas import SqlReplicas
from tests.contract import processes
from tests.contract.serving import make_replica

CARDS = {"g0": 16, "g1": 8}
INVENTORY = {
    "cpus": 4,
    "memory_bytes": 32,
    "gpus": [{"uuid": name, "memory_bytes": size} for name, size in CARDS.items()],
}


@pytest.fixture
def replicas(database: Database) -> SqlReplicas:
    SqlNodes(database).beat("n1", host="h", inventory=INVENTORY)
    return SqlReplicas(database)


@pytest.fixture
def leases(database: Database) -> SqlLeases:
    return SqlLeases(database)


def wanted(device="g0", ordinal=0, **size) -> Replica:
    return dataclasses.replace(make_replica(f"s{ordinal}", ordinal), device=device)


def ask(replica: Replica, size: Size, *victims: Replica) -> Ask:
    return Ask(
        replica_id=replica.id,
        service_id=replica.service_id,
        node_id=replica.node_id,
        device=replica.device,
        size=size,
        victims=tuple(victim.id for victim in victims),
    )


def place(replicas: SqlReplicas, ordinal: int, *victims: Replica, device="g0", **size) -> Replica | None:
    replica = wanted(device, ordinal)
    return replica if replicas.insert(replica, ask(replica, Size(**size), *victims)) else None


def only(leases: SqlLeases, replica: Replica | None) -> Lease:
    assert replica is not None
    return next(lease for lease in leases.all() if lease.replica_id == replica.id)


def test_a_lease_comes_goes_and_changes_with_its_replica(replicas: SqlReplicas, leases: SqlLeases):
    replica = place(replicas, 0, card_bytes=10, cpu_milli=500)
    assert replica is not None
    generation = replicas.begin(replica.id)

    states = [only(leases, replica).state]
    replicas.report(replica.id, generation, observed=Observed.STARTING, pid=7, owner=(7, 99))
    replicas.report(replica.id, generation, observed=Observed.READY)
    states.append(only(leases, replica).state)
    replicas.report(replica.id, generation, observed=Observed.STOPPED)
    last = only(leases, replica)
    replicas.delete(replica.id)

    assert states == [LeaseState.RESERVED, LeaseState.ALLOCATED]
    assert (last.state, last.owner_pid, last.owner_started) == (LeaseState.UNLOADING, 7, 99)
    assert last.allocated_at is not None
    assert last.unloading_at is not None
    assert leases.all() == []


@pytest.mark.parametrize(
    ("place_of", "size"),
    [
        ({}, {"card_bytes": 7}),
        ({}, {"is_whole": True, "card_bytes": 16}),
        ({}, {"cpu_milli": 3600}),
        ({}, {"memory_bytes": 33}),
        ({"device": "g9"}, {}),
        ({"node_id": "n9"}, {}),
    ],
)
def test_where_there_is_no_room_nothing_is_inserted(replicas: SqlReplicas, leases: SqlLeases, place_of, size):
    place(replicas, 0, card_bytes=10, cpu_milli=500)
    more = dataclasses.replace(wanted(ordinal=1), **place_of)

    assert not replicas.insert(more, ask(more, Size(**size)))

    assert len(leases.all()) == len(replicas.all()) == 1


def test_a_card_that_is_held_whole_is_shared_with_nobody(replicas: SqlReplicas):
    assert place(replicas, 0, device="g1", card_bytes=8, is_whole=True)

    assert place(replicas, 1, device="g1") is None


def test_victims_stop_and_what_they_held_passes_to_who_waits(replicas: SqlReplicas, leases: SqlLeases):
    first, second = place(replicas, 0, card_bytes=8, cpu_milli=2000), place(replicas, 1, card_bytes=6)
    assert first is not None
    assert second is not None

    high = place(replicas, 2, first, second, card_bytes=15, cpu_milli=3000)
    assert high is not None
    at_once = only(leases, high)
    stopped = {row.id for row in replicas.all() if row.desired is Desired.STOPPED}
    early = replicas.begin(high.id)
    replicas.delete(first.id)
    half = only(leases, high)
    still_early = replicas.begin(high.id)
    replicas.delete(second.id)

    assert (at_once.held, at_once.wanted) == (Size(card_bytes=1, cpu_milli=1000), Size(card_bytes=15, cpu_milli=3000))
    assert stopped == {first.id, second.id}
    assert half.held == Size(card_bytes=9, cpu_milli=3000)
    assert (early, still_early, replicas.begin(high.id)) == (0, 0, 1)
    assert only(leases, high).held == only(leases, high).wanted


def test_a_victim_that_left_or_was_taken_by_another_is_no_victim(replicas: SqlReplicas):
    victim = place(replicas, 0, card_bytes=16)
    assert victim is not None
    assert place(replicas, 1, victim, card_bytes=16)

    again = place(replicas, 2, victim, card_bytes=16)
    replicas.delete(victim.id)
    late = place(replicas, 3, victim, card_bytes=16)

    assert (again, late) == (None, None)


def test_what_a_victim_leaves_is_free_when_nobody_waits_for_it_any_more(replicas: SqlReplicas):
    victim = place(replicas, 0, card_bytes=16)
    assert victim is not None
    high = place(replicas, 1, victim, card_bytes=16)
    assert high is not None

    replicas.delete(high.id)
    before = place(replicas, 2, card_bytes=16)
    replicas.delete(victim.id)

    assert before is None
    assert place(replicas, 3, card_bytes=16) is not None


def test_a_lease_without_a_replica_is_an_orphan_and_only_then_released_as_one(
    replicas: SqlReplicas, leases: SqlLeases, database: Database
):
    kept, lost = place(replicas, 0, card_bytes=4), place(replicas, 1, card_bytes=4)
    assert kept is not None
    assert lost is not None
    with database.write() as connection:
        connection.execute(sa.delete(tables.replicas).where(tables.replicas.c.id == lost.id))

    assert [lease.replica_id for lease in leases.orphans("n1")] == [lost.id]
    assert leases.orphans("n2") == []
    assert [leases.release_orphan(replica.id) for replica in (kept, lost, lost)] == [False, True, False]
    assert [lease.replica_id for lease in leases.all()] == [kept.id]


def test_a_replica_from_before_gets_its_lease_once(replicas: SqlReplicas, leases: SqlLeases):
    old = wanted()
    replicas.insert(old)

    leases.adopt(ask(old, Size(card_bytes=99)))
    leases.adopt(ask(old, Size(card_bytes=1)))

    assert only(leases, old).held.card_bytes == 99


@pytest.mark.parametrize(
    ("wanted", "is_granted", "held"),
    [(10, True, 10), (6, True, 6), (4, True, 6), (11, False, 6)],
    ids=["all that is left", "what it has", "less than it has", "more than is left"],
)
def test_a_replica_gets_more_instances_only_with_the_memory_they_take(
    replicas: SqlReplicas, leases: SqlLeases, wanted: int, is_granted: bool, held: int
):
    replica, mate = place(replicas, 0, card_bytes=6), place(replicas, 1, card_bytes=6)
    assert replica is not None
    assert mate is not None

    told = replicas.set_instances(replica.id, 5, card_bytes=wanted)

    row, lease = replicas.get(replica.id), only(leases, replica)
    assert row is not None
    assert (told, row.instances) == (is_granted, 5 if is_granted else replica.instances)
    assert lease.held == lease.wanted == Size(card_bytes=held)


def test_what_is_promised_to_one_who_waits_is_no_room_to_grow(replicas: SqlReplicas, leases: SqlLeases):
    low, mate = place(replicas, 0, card_bytes=8), place(replicas, 1, card_bytes=4)
    assert low is not None
    assert mate is not None
    high = place(replicas, 2, low, card_bytes=10)
    assert high is not None

    while_it_waits = replicas.set_instances(mate.id, 5, card_bytes=7), replicas.set_instances(high.id, 5, card_bytes=12)
    replicas.delete(low.id)

    assert while_it_waits == (False, True)
    assert only(leases, high).held.card_bytes == only(leases, high).wanted.card_bytes == 12
    assert not replicas.set_instances(mate.id, 5, card_bytes=5)


def test_of_eight_that_grow_at_once_two_get_the_room_that_is_there_for_two(replicas: SqlReplicas, database: Database):
    there = [place(replicas, ordinal, card_bytes=1) for ordinal in range(8)]

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda one: replicas.set_instances(one.id, 3, card_bytes=5), filter(None, there)))

    assert (len(told), sum(told)) == (8, 2)
    check_sums(database)


class Machine(RuleBasedStateMachine):
    """Places, evicts, ends and deletes at random; after each step all sums are looked at, in SQL."""

    database: Database

    @initialize()
    def begin(self) -> None:
        with self.database.write() as connection:
            connection.execute(sa.delete(tables.replicas))
            connection.execute(sa.delete(tables.leases))
        SqlNodes(self.database).beat("n1", host="h", inventory=INVENTORY)
        self.replicas, self.leases = SqlReplicas(self.database), SqlLeases(self.database)
        self.made = 0

    @rule(
        device=st.sampled_from(["g0", "g1", "cpu"]),
        card_bytes=st.integers(0, 12),
        cpu_milli=st.sampled_from([0, 500, 2000]),
        victims=st.integers(0, 3),
    )
    def place(self, device: str, card_bytes: int, cpu_milli: int, victims: int) -> None:
        self.made += 1
        size = Size(card_bytes=0 if device == "cpu" else card_bytes, cpu_milli=cpu_milli)
        place(self.replicas, self.made, *self.replicas.all()[:victims], device=device, **dataclasses.asdict(size))

    @precondition(lambda self: self.replicas.all())
    @rule(at=st.integers(0, 99))
    def remove(self, at: int) -> None:
        rows = self.replicas.all()
        self.replicas.delete(rows[at % len(rows)].id)

    @precondition(lambda self: self.replicas.all())
    @rule(at=st.integers(0, 99), card_bytes=st.integers(1, 12))
    def grow(self, at: int, card_bytes: int) -> None:
        rows = self.replicas.all()
        self.replicas.set_instances(rows[at % len(rows)].id, 3, card_bytes=card_bytes)

    @precondition(lambda self: self.replicas.all())
    @rule(at=st.integers(0, 99))
    def start(self, at: int) -> None:
        rows = self.replicas.all()
        row = rows[at % len(rows)]
        if self.replicas.begin(row.id):
            lease = next(lease for lease in self.leases.all() if lease.replica_id == row.id)
            assert lease.held == lease.wanted

    @invariant()
    def sums_hold(self) -> None:
        check_sums(self.database)
        assert {lease.replica_id for lease in self.leases.all()} == {row.id for row in self.replicas.all()}


def check_sums(database: Database) -> None:
    sums = "SELECT device, sum(card_bytes), sum(cpu_milli), sum(memory_bytes) FROM leases GROUP BY device"
    with database.read() as connection:
        rows = connection.execute(sa.text(sums)).all()
    assert all(row[1] <= CARDS.get(row[0], 0) for row in rows), rows
    assert sum(row[2] for row in rows) <= 4000
    assert sum(row[3] for row in rows) <= 32


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sums_hold_in_every_history(database: Database):
    class OnThisDatabase(Machine):
        pass

    OnThisDatabase.database = database
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.fixture
def watched(database: Database) -> Iterator[list[str]]:
    """Looks at the sums again and again while a test runs; what it saw wrong."""
    wrong: list[str] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.01):
            try:
                check_sums(database)
            except AssertionError as error:
                wrong.append(str(error))

    thread = threading.Thread(target=look)
    thread.start()
    yield wrong
    is_over.set()
    thread.join()


def test_eight_processes_that_ask_at_once_never_hold_more_than_there_is(
    database: Database, database_url: str, replicas: SqlReplicas, watched: list[str]
):
    asking = processes.spawn("contend", database_url, 8, 25)
    try:
        told = processes.answer(asking)
    finally:
        processes.discard(asking)

    assert watched == []
    check_sums(database)
    assert told["granted"] > 0
    assert told["evicted"] > 0
    assert told["refused"] > 0, "nobody ever was in another's way: this test proves nothing"
