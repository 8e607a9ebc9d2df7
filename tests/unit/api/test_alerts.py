"""Alert rules, alerts and silences over HTTP."""

import dataclasses

import pytest

from inference.access import keys, tenants
from inference.access.model import ANYBODY, Role, Scope
from inference.alerts.model import Alert, Metric, Phase, Severity
from inference.alerts.run import Evaluator
from inference.ids import DEFAULT_TENANT, new_id
from tests import fakes

BASE = "/api/v1/inference/alerts"
RULE = {"name": "old", "metric": "queue_age", "threshold": 10, "for_s": 0}


def key(core, *, role=Role.ADMIN, tenant_id=DEFAULT_TENANT, is_system=False):
    made = keys.create(core.access, by=ANYBODY, name="k", role=role, scope=Scope(tenant_id), is_system=is_system)
    return {"Authorization": f"Bearer {made.text}"}


def test_the_defaults_are_there_from_the_first_day_and_say_what_to_do(client):
    answer = client.get(f"{BASE}/rules?language=zh").json["rules"]

    assert [one["name"] for one in answer] == [
        "high-error-rate", "slow", "slow-p95", "gpu-idle", "load-failure", "low-availability", "old-queue",
        "budget-soft-limit",
    ]  # fmt: skip
    assert all(one["enabled"] and one["is_default"] for one in answer)
    assert (answer[0]["threshold"], answer[1]["threshold"], answer[5]["threshold"]) == (0.05, 0.2, 0.999)
    assert "任务" in answer[1]["likely_cause"]


def test_a_rule_is_made_shown_changed_and_removed(client):
    made = client.post(f"{BASE}/rules", json=RULE)
    rule_id = made.json["rule_id"]
    changed = client.patch(f"{BASE}/rules/{rule_id}", json={"threshold": 20, "enabled": False})
    shown = client.get(f"{BASE}/rules/{rule_id}")
    gone = client.delete(f"{BASE}/rules/{rule_id}")

    assert made.status_code == 201
    assert (made.json["compare"], made.json["actions"]) == ("above", [{"kind": "log"}])
    assert shown.json == changed.json == {**made.json, "threshold": 20.0, "enabled": False}
    assert gone.status_code == 204
    assert client.get(f"{BASE}/rules/{rule_id}").json["code"] == "alert_rule_not_found"


def test_a_default_is_switched_off_by_its_id(client):
    rule_id = client.get(f"{BASE}/rules").json["rules"][0]["rule_id"]

    answer = client.patch(f"{BASE}/rules/{rule_id}", json={"enabled": False})

    assert answer.json["enabled"] is False
    assert [one["enabled"] for one in client.get(f"{BASE}/rules").json["rules"]].count(False) == 1


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"metric": "mood"}, "invalid_field", "metric"),
        ({"threshold": "10"}, "invalid_field", "threshold"),
        ({"resolve_threshold": 11}, "invalid_field", "resolve_threshold"),
        ({"color": 1}, "unknown_field", "color"),
        ({"actions": [{"kind": "dance"}]}, "invalid_field", "actions.0.kind"),
        ({"actions": [{"kind": "webhook", "url": "ftp://x"}]}, "invalid_field", "actions.0.url"),
        ({"actions": [{"kind": "email", "to": ["a@b.example"]}]}, "invalid_field", "actions.0.kind"),
        ({"metric": "log_rate"}, "invalid_field", "service_id"),
        ({"service_id": new_id()}, "service_not_found", None),
        ({"name": "slow"}, "name_exists", None),
    ],
)
def test_a_wrong_rule_is_refused_with_the_field_and_the_reason(client, change, code, field):
    answer = client.post(f"{BASE}/rules", json={**RULE, **change})

    assert answer.json["code"] == code
    if field is not None:
        assert answer.json["details"].get("field", field) == field
        assert field.rpartition(".")[2] in answer.text


def test_a_rule_says_what_it_would_do_now(client, core):
    model = fakes.add_model(core)
    busy, idle = (fakes.add_service(core, model=model) for _ in range(2))
    core.alerts.sources.ages = {busy.id: 42.0}
    rule_id = client.post(f"{BASE}/rules", json=RULE).json["rule_id"]

    answer = client.post(f"{BASE}/rules/{rule_id}/test").json

    found = {one["service_id"]: one for one in answer["services"]}
    assert (answer["would_fire"], found[idle.id]["would_fire"]) == (True, False)
    assert found[busy.id]["because"] == (
        "It would fire now, because the wait of the oldest task is 42 s, which is above 10 s."
    )
    assert core.alerts.alerts.rows == {}


def test_what_fires_is_listed_with_its_text_and_actions_and_whether_it_is_silenced(client, core):
    service = fakes.add_service(core)
    client.post(f"{BASE}/rules", json=RULE)
    core.alerts.sources.ages = {service.id: 42.0}
    Evaluator(core.alerts, by="me").turn()
    before = client.get(f"{BASE}?state=firing&service_id={service.id}").json["alerts"]
    silence = client.post(f"{BASE}/silences", json={"service_id": service.id, "for_s": 60, "comment": "known"})

    (one,) = client.get(BASE).json["alerts"]

    assert [each["silenced"] for each in before] == [False]
    assert (one["service"], one["state"], one["value"], one["silenced"]) == (service.name, "firing", 42.0, True)
    assert one["summary"] == f"old: the wait of the oldest task of service {service.name} is 42 s (limit 10 s)."
    assert service.id in one["suggested_action"]
    assert one["actions"] == [
        {"kind": "log", "event": "fired", "state": "pending", "attempts": 0, "note": None, "settled_at": None}
    ]
    assert client.get(f"{BASE}?state=resolved").json["alerts"] == []
    assert client.delete(f"{BASE}/silences/{silence.json['silence_id']}").status_code == 204
    assert client.get(f"{BASE}/silences").json == {"silences": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "until"),
        ({"for_s": 5, "until": "2026-01-01T00:00:00Z"}, "until"),
        ({"until": "1970-01-01T00:00:10Z"}, "until"),
        ({"until": "tomorrow"}, "until"),
        ({"for_s": 0}, "for_s"),
    ],
)
def test_a_silence_without_an_end_is_refused(client, body, field):
    answer = client.post(f"{BASE}/silences", json=body)

    assert (answer.status_code, answer.json["details"].get("field")) == (422, field)


def test_tenants_see_and_change_their_own_alone(client, core):
    tenants.create(core.access, tenant_id="acme", name="Acme")
    mine, theirs = key(core), key(core, tenant_id="acme")
    rule_id = client.post(f"{BASE}/rules", json=RULE, headers=mine).json["rule_id"]
    silence = client.post(f"{BASE}/silences", json={"for_s": 60}, headers=mine).json["silence_id"]

    answers = [
        client.get(f"{BASE}/rules/{rule_id}", headers=theirs),
        client.patch(f"{BASE}/rules/{rule_id}", json={}, headers=theirs),
        client.delete(f"{BASE}/silences/{silence}", headers=theirs),
    ]

    assert [one.status_code for one in answers] == [404, 404, 404]
    assert "old" not in [one["name"] for one in client.get(f"{BASE}/rules", headers=theirs).json["rules"]]
    assert (
        client.post(f"{BASE}/rules", json=RULE, headers=key(core, role=Role.SUBMITTER)).json["code"] == "role_too_low"
    )


def test_an_alert_of_a_deleted_service_is_still_told(client, core):
    one = Alert(
        id=new_id(), rule_id=new_id(), tenant_id=DEFAULT_TENANT, service_id=new_id(), name="slow",
        metric=Metric.LATENCY, severity=Severity.WARNING, threshold=0.2, phase=Phase.RESOLVED, began_at=1.0, value=0.5,
        fired_at=2.0, resolved_at=3.0,
    )  # fmt: skip
    core.alerts.alerts.rows = {one.id: one, "": dataclasses.replace(one, phase=Phase.PENDING)}

    (shown,) = client.get(BASE).json["alerts"]

    assert (shown["service"], shown["resolved_at"]) == (None, "1970-01-01T00:00:03.000000Z")
    assert shown["summary"] == f"slow: the mean latency of service {one.service_id} is well again."
