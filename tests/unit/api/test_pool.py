"""The pool and the usage of a service over HTTP."""

import pytest

from inference.resources.fit import Size
from inference.resources.leases import Ask
from inference.serving.model import Desired, Node, Observed, Replica
from tests.fakes import add_model, add_service

BASE = "/api/v1/inference"
GPUS = [{"uuid": "GPU-0", "memory_bytes": 16}, {"uuid": "GPU-1", "memory_bytes": 8}]
INVENTORY = {"cpus": 4, "memory_bytes": 32, "gpus": GPUS}


def part(total, *, reserved=0, free):
    return {"total": total, "reserved": reserved, "allocated": 0, "unloading": 0, "free": free}


@pytest.fixture
def service(core):
    """Its one replica holds a part of a card and waits for another replica to leave."""
    service = add_service(core, model=add_model(core))
    core.serving.nodes.rows = [
        Node(id="n", host="h", inventory=INVENTORY, heartbeat_at=0.0),
        Node(id="silent", host="h", inventory=INVENTORY, heartbeat_at=0.0, is_alive=False),
    ]
    core.serving.replicas.rows = [
        Replica(
            id="1" * 32, service_id=service.id, ordinal=0, node_id="n", device="GPU-0", desired=Desired.RUNNING,
            observed=Observed.PENDING, generation=0, revision=1, instances=1, instances_ready=0, load_failures=0,
            restarts=0,
        )
    ]  # fmt: skip
    place = {"node_id": "n", "device": "GPU-0"}
    core.serving.leases.add(Ask(replica_id="2" * 32, service_id="gone", size=Size(card_bytes=4), **place))
    size = Size(card_bytes=6, cpu_milli=500, memory_bytes=2)
    core.serving.leases.add(Ask(replica_id="1" * 32, service_id=service.id, size=size, victims=("2" * 32,), **place))
    return service


def test_the_pool_says_what_there_is_what_is_held_and_by_whom(client, service):
    shown = client.get(f"{BASE}/pool").json

    assert shown["totals"] == {
        "nodes": 1,
        "devices": 2,
        "device_memory_bytes": part(24, reserved=10, free=14),
        "cpus": part(4.0, reserved=0.5, free=3.5),
        "memory_bytes": part(32, reserved=2, free=30),
    }
    assert [(one["device"], one["memory_bytes"]["free"], one["replicas"]) for one in shown["devices"]] == [
        ("GPU-0", 6, 2),
        ("GPU-1", 8, 0),
    ]
    assert [node["node_id"] for node in shown["nodes"]] == ["n"]
    (use,) = shown["services"]
    assert (use["service_id"], use["priority"], use["replicas"], use["devices"]) == (service.id, 5, 1, 1)
    assert (use["device_memory_bytes"], use["cpus"], use["memory_bytes"]) == (6, 0.5, 2)


def test_the_usage_of_a_service_is_told_by_replica(client, service):
    shown = client.get(f"{BASE}/services/{service.id}/usage").json

    (replica,) = shown["replica_list"]
    assert (shown["devices"], shown["device_memory_bytes"], shown["cpus"]) == (1, 6, 0.5)
    assert (replica["lease"], replica["device"], replica["waits_for"]) == ("reserved", "GPU-0", ["2" * 32])


def test_the_usage_of_a_service_that_does_not_exist_is_not_found(client):
    assert client.get(f"{BASE}/services/{'0' * 32}/usage").json["code"] == "service_not_found"
