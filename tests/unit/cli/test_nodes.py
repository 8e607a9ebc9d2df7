"""`penstock gpus` and `penstock nodes` as a person and a script meet them."""

import json

from inference.resources import probe_nvml

BASE = "/api/v1/inference"
CARD = {
    "index": 0, "uuid": "GPU-1", "name": "H200", "node_id": "n", "state": "lost", "source": "nvml",
    "memory_total_mb": 143771, "memory_used_mb": None, "services": [{"service_id": "2" * 32}],
}  # fmt: skip
NODE = {"node_id": "n", "host": "h", "is_alive": True, "cpus": 2.0, "cpu_percent": 12.5, "devices": 1, "replicas": 0}


def test_devices_are_a_table_for_people_and_filters_go_to_the_server(penstock, server):
    server.answers["GET", f"{BASE}/gpus"] = (200, {"gpus": [CARD], "next": "n/GPU-1"})

    result = penstock("gpus", "--node", "n", "--state", "lost", "--limit", "1", "--cursor", "n/GPU-0")

    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("GPU-1", "lost", "nvml", "143771", "2" * 32))
    assert "--cursor n/GPU-1" in result.stderr
    asked = dict(server.requests[-1].url.params)
    assert asked == {"node_id": "n", "state": "lost", "limit": "1", "cursor": "n/GPU-0"}


def test_a_system_without_devices_says_where_they_would_come_from(penstock, server):
    server.answers["GET", f"{BASE}/gpus"] = (200, {"gpus": []})

    assert "docs/resources.md" in penstock("gpus").stdout


def test_nodes_are_a_table_and_one_is_shown_with_what_it_has(penstock, server):
    used = {"cpu_percent": 50.0, "rss_bytes": 5 << 20}
    row = {"replica_id": "1" * 32, "service_id": "2" * 32, "status": "ready", "device": "cpu", "usage": used}
    server.answers["GET", f"{BASE}/nodes"] = (200, {"nodes": [NODE]})
    server.answers["GET", f"{BASE}/nodes/n"] = (200, {**NODE, "gpus": [CARD], "replica_list": [row]})

    listed, shown = penstock("nodes"), penstock("nodes", "n")

    assert (listed.exit_code, shown.exit_code) == (0, 0)
    assert "12.5" in listed.stdout
    assert all(word in shown.stdout for word in ("GPU-1", "1" * 32, "50", " 5"))


def test_where_there_is_no_card_nothing_can_be_recorded(penstock, monkeypatch, tmp_path):
    monkeypatch.setattr(probe_nvml, "LIBRARY", "libnone.so.0")

    result = penstock("gpus", "--record", str(tmp_path / "card.jsonl"))

    assert result.exit_code == 1
    assert "nothing to record" in result.output
    assert list(tmp_path.iterdir()) == []


def test_json_prints_the_page_as_it_is(penstock, server):
    server.answers["GET", f"{BASE}/nodes"] = (200, {"nodes": [NODE]})

    assert json.loads(penstock("nodes", "--json").stdout) == {"nodes": [NODE]}
