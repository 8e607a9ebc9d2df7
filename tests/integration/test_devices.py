"""Devices of a whole system: listed over HTTP, watched by Prometheus, and given to what asks for one."""

import json
from pathlib import Path

import httpx

from tests.services import wait_for
from tests.system import BASE

ROOT = Path(__file__).parents[2]
DEVICES = json.dumps([{"uuid": "sim-0", "name": "a card", "memory": "24Gi"}])


def test_a_configured_device_is_listed_and_what_asks_for_one_runs_on_it(own_system):
    system = own_system(RESOURCES__DEVICES=DEVICES)
    (device,) = system.http.get(f"{BASE}/gpus").json()["gpus"]

    service_id = system.run("double", config={"resource_requirements": {"gpu": 1}})
    wait_for(lambda: on_device(system, service_id), timeout_s=20, what="a replica that uses the device")

    assert (device["uuid"], device["source"], device["state"], device["memory_total_mb"]) == (
        "sim-0", "static", "ok", 24576,
    )  # fmt: skip
    (node,) = system.http.get(f"{BASE}/nodes").json()["nodes"]
    assert (node["is_alive"], node["devices"], node["replicas"]) == (True, 1, 1)
    metrics = httpx.get(system.workers_url).text
    assert 'penstock_device_memory_bytes{device="0",source="static",uuid="sim-0"} 2.5769803776e+10' in metrics
    assert "penstock_gpu_" not in metrics


def on_device(system, service_id: str) -> bool:
    """Whether the service runs on the device, and its node has told what it uses."""
    (device,) = system.http.get(f"{BASE}/gpus").json()["gpus"]
    shown = system.http.get(f"{BASE}/nodes/{device['node_id']}").json()
    used = [one["usage"] for one in shown["replica_list"]]
    is_there = [(one["service_id"], one["status"]) for one in device["services"]] == [(service_id, "ready")]
    return is_there and bool(used) and used[0] is not None and used[0]["rss_bytes"] > 10 << 20


def test_a_recording_stands_in_for_cards(own_system):
    system = own_system(RESOURCES__REPLAY=ROOT / "benchmarks" / "data" / "devices-synthetic.jsonl")

    devices = system.http.get(f"{BASE}/gpus").json()["gpus"]

    assert [(one["uuid"], one["source"]) for one in devices] == [
        ("GPU-synthetic-0", "replay"), ("GPU-synthetic-1", "replay"),
    ]  # fmt: skip
    assert devices[0]["power_w"] >= 75
