"""Leases as an agent keeps them: real processes, a real SQLite file."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from inference.core import Core
from inference.resources.fit import Size
from inference.resources.leases import Ask
from inference.serving.model import Observed
from inference.store import tables
from inference.store.database import Database
from tests.contract.serving import make_replica
from tests.integration.node.house import House, is_alive
from workers import node

LEAVES_SLOWLY = "trap 'sleep 0.3; exit 0' TERM; echo started; sleep 60 & wait"


@pytest.fixture
def slow_house(core: Core, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Its workers need a moment to leave, and it beats often."""
    monkeypatch.setattr(node, "HEARTBEAT_S", 0.1)
    house = House(core, LEAVES_SLOWLY)
    core.serving.nodes.beat("n1", host="h", inventory={"cpus": 2})
    yield house
    house.agent.close()


def leased(house: House, *victims: str, service_id: str = "s") -> str:
    """A replica that holds a CPU, in the place of others."""
    row = make_replica(service_id)
    ask = Ask(
        replica_id=row.id,
        service_id=service_id,
        node_id="n1",
        device="cpu",
        size=Size(cpu_milli=2000),
        victims=victims,
    )
    assert house.core.serving.replicas.insert(row, ask)
    return row.id


def leases(house: House) -> set[str]:
    return {lease.replica_id for lease in house.core.serving.leases.all()}


def test_the_worker_of_a_deleted_replica_holds_its_lease_until_it_has_left(slow_house: House):
    replica_id = leased(slow_house)
    pid = slow_house.until_running(replica_id)
    (lease,) = slow_house.core.serving.leases.all()
    database = Database(slow_house.core.settings.database_url, slow_house.core.settings.store)
    with database.write() as connection:
        connection.execute(sa.delete(tables.replicas))
    database.close()

    held_while_alive = []
    slow_house.until(lambda: held_while_alive.append(leases(slow_house)) or not is_alive(pid))
    slow_house.until(lambda: not leases(slow_house))

    assert lease.owner_pid == pid
    assert lease.owner_started
    assert all(seen == {replica_id} for seen in held_while_alive[:-1])


def test_a_replica_begins_when_those_who_were_put_out_for_it_are_gone(slow_house: House):
    low = leased(slow_house, service_id="low")
    pid = slow_house.until_running(low)

    high = leased(slow_house, low, service_id="high")
    together = []
    slow_house.until(
        lambda: together.append(slow_house.row(high).observed) or slow_house.row(low).observed is Observed.STOPPED
    )
    slow_house.core.serving.replicas.delete(low)
    slow_house.until_running(high)

    assert not is_alive(pid)
    assert set(together) == {Observed.PENDING}
