"""Devices of the nodes and usage of the replicas, as heartbeats write them, on both databases."""

import pytest

from inference.resources.model import Device, DeviceState, Figures, SeenDevice, Source
from inference.store.database import Database
from inference.store.devices import SqlDevices
from inference.store.nodes import SqlNodes
from inference.store.replicas import SqlReplicas
from tests.contract.serving import make_replica
from tests.unit.resources.devices import device

BUSY = Figures(memory_used_bytes=5 << 30, utilisation_percent=12.5, throttle=("sw_power_cap",), xids=0)


@pytest.fixture
def nodes(database: Database) -> SqlNodes:
    return SqlNodes(database)


@pytest.fixture
def devices(database: Database) -> SqlDevices:
    return SqlDevices(database)


def beat(nodes: SqlNodes, node_id: str, *found: Device) -> None:
    nodes.beat(node_id, host="h", inventory={}, devices=found)


def seen(devices: SqlDevices, **which: str) -> list[SeenDevice]:
    return list(devices.list(silence_s=10, **which))


def test_devices_come_back_as_they_were_told_with_the_node_and_the_time(nodes: SqlNodes, devices: SqlDevices):
    told = device(figures=BUSY)

    beat(nodes, "n1", told)

    (found,) = seen(devices)
    assert (found.device, found.node_id, found.is_alive) == (told, "n1", True)
    assert found.reported_at == pytest.approx(nodes.list(silence_s=10)[0].heartbeat_at, abs=1)


def test_the_last_heartbeat_counts(nodes: SqlNodes, devices: SqlDevices):
    beat(nodes, "n1", device(figures=BUSY), device(1, "GPU-bb"))

    beat(nodes, "n1", device(), device(1, "GPU-bb", state=DeviceState.LOST))

    first, second = seen(devices)
    assert (first.device.figures, second.device.state) == (Figures(), DeviceState.LOST)


def test_a_device_that_is_no_longer_told_is_gone_until_it_is_back(nodes: SqlNodes, devices: SqlDevices):
    beat(nodes, "n1", device(figures=BUSY), device(1, "GPU-bb"))
    beat(nodes, "n2", device(0, "GPU-cc"))

    beat(nodes, "n1", device(1, "GPU-bb"))
    states = [one.device.state for one in seen(devices)]
    figures = seen(devices)[0].device.figures
    beat(nodes, "n1")
    all_gone = [one.device.state for one in seen(devices, node_id="n1")]
    beat(nodes, "n1", device())

    assert states == [DeviceState.GONE, DeviceState.OK, DeviceState.OK]
    assert figures == Figures()
    assert all_gone == [DeviceState.GONE] * 2
    assert seen(devices)[0].device.state is DeviceState.OK


def test_devices_are_listed_by_node_and_index_and_parts_after_their_card(nodes: SqlNodes, devices: SqlDevices):
    part = device(0, "MIG-a", parent="GPU-zz")
    beat(nodes, "n2", device(0, "GPU-aa", source=Source.STATIC))
    beat(nodes, "n1", device(1, "GPU-bb"), part, device(0, "GPU-zz"), device(10, "GPU-ab"))

    assert [one.device.uuid for one in seen(devices)] == ["GPU-zz", "MIG-a", "GPU-bb", "GPU-ab", "GPU-aa"]
    assert [one.device.uuid for one in seen(devices, node_id="n2")] == ["GPU-aa"]
    assert seen(devices, node_id="n1")[1].device == part


def test_devices_of_a_node_that_fell_silent_stay_and_say_so(nodes: SqlNodes, devices: SqlDevices):
    beat(nodes, "n1", device())

    assert [one.is_alive for one in devices.list(silence_s=-1)] == [False]


def test_devices_leave_with_their_node(nodes: SqlNodes, devices: SqlDevices):
    beat(nodes, "n1", device())
    beat(nodes, "n2", device(0, "GPU-bb"))

    nodes.leave("n1")

    assert [one.node_id for one in seen(devices)] == ["n2"]


def test_a_heartbeat_without_devices_leaves_them_as_they_were(nodes: SqlNodes, devices: SqlDevices):
    beat(nodes, "n1", device(figures=BUSY))

    nodes.beat("n1", host="h", inventory={})

    assert seen(devices)[0].device.figures == BUSY


def test_usage_is_that_of_the_last_heartbeat_and_of_this_nodes_replicas(nodes: SqlNodes, database: Database):
    replicas = SqlReplicas(database)
    mine, idle, other = (make_replica(ordinal=n, node_id=node) for n, node in enumerate(("n1", "n1", "n2")))
    for row in (mine, idle, other):
        replicas.insert(row)
    used = {"cpu_percent": 71.5, "cpu_s": 3.25, "rss_bytes": 1 << 33, "processes": 2}

    nodes.beat("n1", host="h", inventory={}, usage={mine.id: used, idle.id: used, other.id: used})
    nodes.beat("n1", host="h", inventory={}, usage={mine.id: used})

    assert [row.usage for row in replicas.of_service("s")] == [used, {}, {}]
