"""`penstock pool` as a person and a script meet it."""

import json

BASE = "/api/v1/inference"
PART = {"total": 16 << 30, "reserved": 0, "allocated": 10 << 30, "unloading": 0, "free": 6 << 30}
HELD = {"device_memory_bytes": 10 << 30, "cpus": 0.5, "memory_bytes": 0}
POOL = {
    "totals": {},
    "nodes": [{"node_id": "n", "cpus": {"total": 4.0, "free": 3.5}, "memory_bytes": PART}],
    "devices": [{"node_id": "n", "device": "GPU-0", "memory_bytes": PART, "replicas": 1, "is_whole": True}],
    "services": [{"service_id": "2" * 32, "name": "s", "status": "running", "priority": 7, "replicas": 1, **HELD}],
}


def test_the_pool_is_three_tables_for_people_and_one_object_for_programs(penstock, server):
    server.answers["GET", f"{BASE}/pool"] = (200, POOL)

    shown, told = penstock("pool"), penstock("pool", "--json")

    assert all(word in shown.stdout for word in ("GPU-0", "16", "10", "6", "3.5 of 4", "2" * 32, "running", "7"))
    assert json.loads(told.stdout) == POOL


def test_one_service_is_shown_by_replica(penstock, server):
    row = {"replica_id": "1" * 32, "node_id": "n", "device": "GPU-0", "lease": "reserved", "waits_for": ["x1"], **HELD}
    usage = {"service_id": "2" * 32, "replicas": 1, **HELD, "replica_list": [row]}
    server.answers["GET", f"{BASE}/services/{'2' * 32}/usage"] = (200, usage)

    shown = penstock("pool", "2" * 32)

    assert all(word in shown.stdout for word in ("1" * 32, "reserved", "x1", "10"))
