"""R1: devices and nodes over HTTP."""

import pytest

from inference.resources.fit import Size
from inference.resources.leases import Ask
from inference.resources.model import DeviceState, Figures, SeenDevice, Source
from inference.serving.model import Desired, Node, Observed, Replica
from tests.unit.resources.devices import device

BASE = "/api/v1/inference"
BUSY = Figures(
    memory_used_bytes=5 << 30, memory_free_bytes=11 << 30, utilisation_percent=12.5, temperature_c=40.0,
    power_w=71.5, throttle=("sw_power_cap",), xid=79, xid_at=1.0, xids=1,
)  # fmt: skip


def seen(node_id="n", **given):
    return SeenDevice(node_id=node_id, device=device(**given), reported_at=2.0, is_alive=True)


def replica(device="GPU-aa", **usage):
    return Replica(
        id="1" * 32, service_id="2" * 32, ordinal=0, node_id="n", device=device, desired=Desired.RUNNING,
        observed=Observed.READY, generation=1, revision=1, instances=1, instances_ready=1, load_failures=0,
        restarts=0, usage=usage,
    )  # fmt: skip


@pytest.fixture
def with_card(core):
    core.resources.devices.rows = [seen(figures=BUSY)]
    core.serving.replicas.rows = [replica(cpu_percent=99.5, cpu_s=3.0, rss_bytes=1 << 20, processes=2)]
    return core


def test_a_device_is_shown_with_its_figures_its_source_and_what_runs_on_it(client, with_card):
    (shown,) = client.get(f"{BASE}/gpus").json["gpus"]

    assert shown == {
        "index": 0, "uuid": "GPU-aa", "name": "card", "node_id": "n", "node_is_alive": True, "state": "ok",
        "source": "nvml", "parent_uuid": None, "memory_bytes": 1 << 34, "memory_total_mb": 16384,
        "memory_used_mb": 5120, "memory_free_mb": 11264, "memory_leased_mb": 0,
        "utilisation_percent": 12.5, "temperature_c": 40.0,
        "power_w": 71.5, "throttle": ["sw_power_cap"], "ecc_corrected": None, "ecc_uncorrected": None, "xid": 79,
        "xid_at": "1970-01-01T00:00:01.000000Z", "xids": 1, "reported_at": "1970-01-01T00:00:02.000000Z",
        "services": [{"service_id": "2" * 32, "replica_id": "1" * 32, "status": "ready"}],
    }  # fmt: skip


def test_devices_are_listed_in_pages(client, core):
    core.resources.devices.rows = [seen(index=n, uuid=f"GPU-{n}") for n in range(5)]

    first = client.get(f"{BASE}/gpus?limit=2").json
    second = client.get(f"{BASE}/gpus", query_string={"limit": 2, "cursor": first["next"]}).json
    core.resources.devices.rows = [seen("z"), *core.resources.devices.rows[:3]]
    third = client.get(f"{BASE}/gpus", query_string={"cursor": second["next"]}).json

    assert [one["uuid"] for page in (first, second) for one in page["gpus"]] == [f"GPU-{n}" for n in range(4)]
    assert [one["node_id"] for one in third["gpus"]] == ["z"]
    assert "next" not in third


def test_devices_are_chosen_by_node_and_state(client, core):
    core.resources.devices.rows = [seen(), seen("m", state=DeviceState.LOST), seen("m", uuid="GPU-b")]

    def chosen(**asked):
        return [one["uuid"] for one in client.get(f"{BASE}/gpus", query_string=asked).json["gpus"]]

    assert chosen(node_id="m") == ["GPU-aa", "GPU-b"]
    assert chosen(node_id="m", state="lost") == ["GPU-aa"]
    assert chosen(node_id="else") == []


@pytest.mark.parametrize("query", ["state=well", "limit=0", "colour=red", "cursor=" + "x" * 257, "node_id=a%00b"])
def test_a_question_that_makes_no_sense_is_refused(client, query):
    response = client.get(f"{BASE}/gpus?{query}")

    assert (response.status_code, response.json["code"]) == (422, response.json["code"])
    assert response.json["code"] in ("invalid_field", "unknown_field")


def test_what_replicas_hold_of_a_device_is_shown_whether_they_use_it_or_not(client, core):
    core.resources.devices.rows = [seen(), seen(uuid="GPU-b", index=1), seen("m")]
    held = [("GPU-aa", Size(card_bytes=3 << 30)), ("GPU-aa", Size(card_bytes=1 << 30)), ("GPU-b", Size(is_whole=True))]
    for number, (uuid, size) in enumerate(held):
        core.serving.leases.add(Ask(replica_id=str(number), service_id="s", node_id="n", device=uuid, size=size))

    shown = client.get(f"{BASE}/gpus").json["gpus"]

    assert [one["memory_leased_mb"] for one in shown] == [4096, 16384, 0]


def test_a_static_device_shows_no_figures_that_nobody_measured(client, core):
    core.resources.devices.rows = [seen(source=Source.STATIC)]

    (shown,) = client.get(f"{BASE}/gpus").json["gpus"]

    assert shown["source"] == "static"
    assert {shown[name] for name in ("utilisation_percent", "temperature_c", "power_w", "throttle")} == {None}


def test_nodes_are_listed_by_id_with_how_busy_they_are(client, with_card):
    inventory = {"cpus": 2.0, "memory_bytes": 1 << 33, "cpu_percent": 12.5, "memory_percent": 50.0, "source": "static"}
    with_card.serving.nodes.rows = [
        Node(id="n", host="h", inventory=inventory, heartbeat_at=1.0),
        Node(id="o", host="h", inventory={}, heartbeat_at=1.0, is_alive=False),
    ]

    page = client.get(f"{BASE}/nodes?limit=1").json
    last = client.get(f"{BASE}/nodes", query_string={"cursor": page["next"]}).json

    assert page["nodes"] == [
        {
            "node_id": "n", "host": "h", "is_alive": True, "heartbeat_at": "1970-01-01T00:00:01.000000Z",
            "can_cuda": False, "devices": 1, "replicas": 1, **inventory,
        }
    ]  # fmt: skip
    assert [(one["node_id"], one["is_alive"], one["cpus"]) for one in last["nodes"]] == [("o", False, None)]


def test_a_node_is_shown_with_its_devices_and_what_its_replicas_use(client, with_card):
    shown = client.get(f"{BASE}/nodes/n").json

    assert [one["uuid"] for one in shown["gpus"]] == ["GPU-aa"]
    assert shown["replica_list"] == [
        {
            "service_id": "2" * 32, "replica_id": "1" * 32, "status": "ready", "device": "GPU-aa", "instances_ready": 1,
            "usage": {"cpu_percent": 99.5, "cpu_s": 3.0, "rss_bytes": 1 << 20, "processes": 2},
        }
    ]  # fmt: skip


def test_a_node_that_is_unknown_is_not_found(client):
    response = client.get(f"{BASE}/nodes/nowhere")

    assert (response.status_code, response.json["code"]) == (404, "node_not_found")
