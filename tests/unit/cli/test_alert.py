"""`penstock alert` as a person and a script meet it."""

import json

import pytest

from inference.ids import new_id

BASE = "/api/v1/inference/alerts"
RULE_ID, SERVICE_ID, SILENCE_ID = new_id(), new_id(), new_id()
RULE = {
    "rule_id": RULE_ID, "name": "slow", "service_id": None, "metric": "latency", "compare": "above", "threshold": 0.2,
    "for_s": 60.0, "severity": "warning", "actions": [{"kind": "log"}], "enabled": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def answers(server):
    server.answers["GET", f"{BASE}/rules"] = (200, {"rules": [RULE]})
    server.answers["GET", f"{BASE}/rules/{RULE_ID}"] = (200, RULE)
    server.answers["PATCH", f"{BASE}/rules/{RULE_ID}"] = (200, RULE)
    server.answers["POST", f"{BASE}/rules"] = (201, RULE)
    server.answers["DELETE", f"{BASE}/rules/{RULE_ID}"] = (204, {})
    server.answers["POST", f"{BASE}/silences"] = (201, {"silence_id": SILENCE_ID})


def sent(server):
    return json.loads(server.requests[-1].content)


def test_what_fires_is_a_table_with_what_to_do(penstock, server):
    row = {
        "alert_id": new_id(),
        "severity": "critical",
        "state": "firing",
        "summary": "p95 up",
        "suggested_action": "Do it",
    }
    server.answers["GET", BASE] = (200, {"alerts": [row]})

    result = penstock("alert", "list", "--state", "firing", "--service", SERVICE_ID)

    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("critical", "p95 up", "Do it"))
    asked = dict(server.requests[-1].url.params)
    assert asked == {"state": "firing", "service_id": SERVICE_ID, "language": "en", "limit": "100"}


def test_rules_are_made_with_actions_short_and_long(penstock, server):
    mail = '{"kind": "email", "to": ["a@b.example"]}'

    result = penstock(
        "alert", "add", "mine", "queue_age", "--threshold", "10", "--for", "0", "--service", SERVICE_ID,
        "--action", "log", "--action", mail,
    )  # fmt: skip

    assert result.exit_code == 0
    assert sent(server) == {
        "name": "mine", "metric": "queue_age", "threshold": 10.0, "for_s": 0.0, "service_id": SERVICE_ID,
        "actions": [{"kind": "log"}, json.loads(mail)],
    }  # fmt: skip


def test_a_number_that_is_none_is_refused_in_words(penstock, server):
    result = penstock("alert", "add", "x", "latency", "--threshold", "nan")

    assert result.exit_code == 1
    assert "The call cannot be written" in result.stderr
    assert not server.requests


def test_a_rule_is_changed_and_removed_by_its_name(penstock, server):
    changed, body = penstock("alert", "set", "slow", "--threshold", "0.5", "--off"), None
    body = sent(server)
    removed = penstock("alert", "delete", "slow", "--json")

    assert (changed.exit_code, body) == (0, {"threshold": 0.5, "enabled": False})
    assert json.loads(removed.stdout) == {"rule_id": RULE_ID}


def test_a_test_says_why(penstock, server):
    found = {"service": "digits", "value": 0.5, "would_fire": True, "because": "It would fire now."}
    server.answers["POST", f"{BASE}/rules/{RULE_ID}/test"] = (200, {"would_fire": True, "services": [found]})

    result = penstock("alert", "test", "slow")

    assert "It would fire now." in result.stdout


def test_a_silence_names_what_it_is_for(penstock, server):
    result = penstock("alert", "silence", "--for", "60", "--rule", "slow", "--comment", "known")

    assert result.exit_code == 0
    assert sent(server) == {"for_s": 60.0, "rule_id": RULE_ID, "comment": "known"}
