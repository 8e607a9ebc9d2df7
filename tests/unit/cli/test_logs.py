"""`penstock logs` as a person and a script meet it."""

import json

BASE = "/api/v1/inference"
ID = "2" * 32
ENTRY = {
    "id": "7", "timestamp": "2026-11-20T06:30:00.000000Z", "level": "error", "event": "job_failed", "service_id": ID,
    "role": "engine", "pid": 3, "reason": "no room", "attempt": 1,
}  # fmt: skip


def test_entries_are_lines_oldest_first_and_filters_go_to_the_server(penstock, server):
    later = ENTRY | {"event": "service_moved"}
    server.answers["GET", f"{BASE}/services/{ID}/logs"] = (200, {"logs": [later, ENTRY], "next": "7"})

    result = penstock("logs", ID, "--level", "warning", "--keyword", "no room", "--from", "2026-11-20", "--limit", "2")

    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first.split() == [
        "2026-11-20T06:30:00.000000Z",
        "error",
        "engine",
        "job_failed",
        'reason="no',
        'room"',
        "attempt=1",
    ]
    assert "service_moved" in second
    assert "--cursor 7" in result.stderr
    asked = dict(server.requests[-1].url.params)
    assert asked.pop("from") == "2026-11-20T00:00:00.000000Z"
    assert asked == {"level": "warning", "keyword": "no room", "limit": "2"}


def test_without_a_service_it_is_the_system_and_nothing_is_said_to_be_nothing(penstock, server):
    server.answers["GET", f"{BASE}/logs"] = (200, {"logs": []})

    assert "Nothing was logged" in penstock("logs", "--from", "15m").stdout


def test_a_time_that_is_none_is_wrong_usage(penstock):
    assert penstock("logs", "--from", "yesterday").exit_code == 2
    assert penstock("logs", "--follow", "--analyse").exit_code == 2


def test_the_analysis_is_tables(penstock, server):
    group = {"level": "error", "count": 3, "is_new": True, "last_at": "x", "message": "job_failed: no room"}
    body = {
        "from": "a", "to": "b", "step_s": 60, "counts": {"error": 3}, "buckets": [], "groups": [group],
        "top_events": [{"event": "job_failed", "count": 3}],
        "deployment": {
            "at": "c", "before": {"per_hour": {}}, "after": {"per_hour": {"info": 2.5, "error": 3.0}}, "appeared": [],
        },
    }  # fmt: skip
    server.answers["GET", f"{BASE}/services/{ID}/logs/analysis"] = (200, body)

    result = penstock("logs", ID, "--analyse")

    assert result.exit_code == 0
    assert "job_failed: no room" in result.stdout
    assert "Since c, entries an hour: none -> 2.5 info, 3 error" in result.stdout
    assert json.loads(penstock("logs", ID, "--analyse", "--json").stdout) == body
