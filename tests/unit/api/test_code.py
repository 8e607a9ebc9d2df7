"""Who may allow a model to run code, and where."""

import dataclasses

import pytest

from api.v1 import models as views
from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope
from inference.ids import DEFAULT_TENANT, new_id
from tests import fakes

BASE = "/api/v1/inference"
WANTED = {"name": "double", "version": "1.0.0", "framework": "onnx", "model_path": f"upload:{new_id()}"}
ALLOWED = {"config": {"allow_code": True}}


@pytest.fixture
def registered(core, monkeypatch):
    """What was asked of the registry; it accepts everything."""
    asked = []

    def register(ports, **fields):
        asked.append(fields)
        return fakes.add_model(core, name=fields["name"], version=fields["version"])

    monkeypatch.setattr(views.registration, "register", register)
    return asked


@pytest.fixture
def model(core):
    """A model whose loading runs code."""
    made = fakes.add_model(core, name="coded")
    core.registry.models.rows[made.id] = dataclasses.replace(made, runs_code=True)
    return made


def key(core, role: Role) -> dict[str, str]:
    made = keys.create(core.access, by=ANYBODY, name=role.value, role=role, scope=Scope(DEFAULT_TENANT))
    return {"Authorization": f"Bearer {made.text}"}


def calls(model, service):
    """Every call that can give leave."""
    return [
        ("POST", "/v1/models/register", {**WANTED, "allow_code": True}),
        ("POST", f"{BASE}/services", {"model_id": model.id, **ALLOWED}),
        ("POST", f"{BASE}/services", {"name": "s", "model_path": "/m.onnx", "framework": "onnx", **ALLOWED}),
        ("POST", f"{BASE}/deployments", {"model_id": model.id, "environment": "production", **ALLOWED}),
        ("POST", "/v1/deployments", {"model_id": model.id, "environment": "production", **ALLOWED}),
        ("PATCH", f"{BASE}/services/{service.id}", ALLOWED),
    ]


def test_an_operator_gives_no_leave_anywhere(client, core, registered, model, service):
    operator = key(core, Role.OPERATOR)
    before = dict(core.serving.services.rows)

    answers = [
        client.open(path, method=method, json=body, headers=operator) for method, path, body in calls(model, service)
    ]

    told = [(answer.status_code, answer.json["code"]) for answer in answers if answer.status_code != 404]
    assert len(told) >= 5
    assert set(told) == {(403, "role_too_low")}
    assert answers[0].json["details"] == {"role": "operator", "needed": "admin"}
    assert core.serving.services.rows == before
    assert registered == []


def test_an_admin_gives_leave_for_one_registration_and_one_service(client, core, registered, model):
    admin = key(core, Role.ADMIN)

    registration = client.post("/v1/models/register", json={**WANTED, "allow_code": True}, headers=admin)
    made = client.post(f"{BASE}/services", json={"model_id": model.id, **ALLOWED}, headers=admin)

    assert registration.status_code == made.status_code == 201
    assert registered[0]["allow_code"] is True
    shown = client.get(f"{BASE}/services/{made.json['service_id']}", headers=admin).json
    assert shown["config"] == {"allow_code": True}


def test_without_keys_everybody_on_this_machine_may_give_leave(client, registered, model):
    answer = client.post(f"{BASE}/services", json={"model_id": model.id, **ALLOWED})

    assert answer.status_code == 201


@pytest.mark.parametrize("config", [{}, {"allow_code": False}])
def test_a_service_or_deployment_of_such_a_model_needs_leave_of_its_own(client, core, model, config):
    paths = {f"{BASE}/services": {}, "/v1/deployments": {"environment": "production"}}

    answers = [client.post(path, json={"model_id": model.id, "config": config, **more}) for path, more in paths.items()]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(422, "model_runs_code")] * 2
    assert "allow_code" in answers[0].json["message"]
    assert core.serving.services.rows == {}


def test_an_operator_changes_other_things_of_a_service_and_takes_leave_away(client, core):
    service = fakes.add_service(core, allow_code=True)
    operator, path = key(core, Role.OPERATOR), f"{BASE}/services/{service.id}"

    client.patch(path, json={"config": {"max_batch": 4}}, headers=operator)
    client.post(f"{path}/restart", headers=operator)
    client.post(f"{path}/scale", json={"replicas": 2}, headers=operator)
    kept = core.serving.services.rows[service.id].config
    client.patch(path, json={"config": {"allow_code": None}}, headers=operator)

    assert (kept.max_batch, kept.replicas, kept.allow_code) == (4, 2, True)
    assert core.serving.services.rows[service.id].config.allow_code is False


@pytest.mark.parametrize("value", ["true", 1, [True]])
def test_leave_is_a_plain_true_or_nothing(client, core, registered, model, service, value):
    operator = key(core, Role.OPERATOR)
    bodies = [
        ("POST", "/v1/models/register", {**WANTED, "allow_code": value}),
        ("POST", f"{BASE}/services", {"model_id": model.id, "config": {"allow_code": value}}),
        ("PATCH", f"{BASE}/services/{service.id}", {"config": {"allow_code": value}}),
    ]

    answers = [client.open(path, method=method, json=body, headers=operator) for method, path, body in bodies]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(422, "invalid_field")] * 3
    assert core.serving.services.rows[service.id].config.allow_code is False


def test_the_short_form_takes_the_leave_of_its_service_to_the_registration(client, registered):
    body = {"name": "s", "model_path": "/m.onnx", "framework": "onnx", **ALLOWED}

    client.post(f"{BASE}/services", json=body)

    assert registered[0]["allow_code"] is True


def test_a_model_shows_whether_it_runs_code(client, core, model):
    assert client.get(f"/v1/models/{model.id}").json["runs_code"] is True
    assert client.get(f"/v1/models/{fakes.add_model(core, name='other').id}").json["runs_code"] is False
