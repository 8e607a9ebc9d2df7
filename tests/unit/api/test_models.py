"""M1, M2 and uploads over HTTP."""

import hashlib

import pytest

from api.v1 import models as views
from inference.access.model import Scope
from inference.errors import VersionExists
from inference.ids import new_id
from inference.serving.model import ServiceState
from tests import fakes

BASE = "/api/v1/inference"
WANTED = {"name": "double", "version": "1.0.0", "framework": "onnx", "model_path": "/m.onnx"}


@pytest.fixture
def registered(core, monkeypatch):
    """What was asked of the registry; it accepts everything."""
    asked = []

    def register(ports, **fields):
        asked.append(fields)
        return fakes.add_model(core, name=fields["name"], version=fields["version"])

    monkeypatch.setattr(views.registration, "register", register)
    return asked


def test_a_model_is_registered(client, registered):
    response = client.post(
        "/v1/models/register", json={**WANTED, "metadata": {"a": 1}, "accuracy_metrics": {"top1": 0.9}}
    )

    assert response.status_code == 201
    assert response.json["status"] == "registered"
    assert response.headers["Location"] == f"/v1/models/{response.json['model_id']}"
    assert registered[0]["metadata"] == {"a": 1}
    assert registered[0]["deployment_config"] == {}
    shown = client.get(response.headers["Location"]).json
    assert shown["inputs"] == [{"name": "x", "dtype": "float32", "shape": [None, 2]}]


@pytest.mark.parametrize("field", ["name", "version", "framework", "model_path"])
def test_a_missing_field_is_named(client, registered, field):
    body = {name: value for name, value in WANTED.items() if name != field}

    response = client.post("/v1/models/register", json=body)

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")
    assert f"`{field}`" in response.json["message"]
    assert registered == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**WANTED, "name": 5}, 422, "invalid_field"),
        ({**WANTED, "metadata": []}, 422, "invalid_field"),
        ({**WANTED, "colour": 1}, 422, "unknown_field"),
        ([WANTED], 422, "invalid_field"),
    ],
)
def test_a_bad_registration_is_refused(client, registered, body, status, code):
    response = client.post("/v1/models/register", json=body)

    assert (response.status_code, response.json["code"]) == (status, code)
    assert registered == []


def test_a_repeated_version_is_a_conflict(client, monkeypatch):
    def refuse(ports, **fields):
        raise VersionExists("Version 1.0.0 of model 'double' exists already.", name="double", version="1.0.0")

    monkeypatch.setattr(views.registration, "register", refuse)

    response = client.post("/v1/models/register", json=WANTED)

    assert (response.status_code, response.json["code"]) == (409, "version_exists")


def test_models_are_listed_by_name_and_page(client, core):
    ids = [fakes.add_model(core, version=f"1.0.{patch}").id for patch in range(3)]
    fakes.add_model(core, name="other")

    first = client.get("/v1/models?name=double&limit=2").json
    rest = client.get(f"/v1/models?name=double&limit=2&cursor={first['next']}").json

    assert [model["model_id"] for model in first["models"] + rest["models"]] == sorted(ids, reverse=True)
    assert "next" not in rest


def test_two_versions_are_compared(client, core):
    old, new = fakes.add_model(core), fakes.add_model(core, version="1.1.0", sha256="f" * 64)

    diff = client.get(f"/v1/models/{old.id}/diff?other={new.id}").json

    assert (diff["from"], diff["to"], diff["is_same_artefact"]) == (old.id, new.id, False)
    assert diff["changes"]["version"] == {"from": "1.0.0", "to": "1.1.0"}


def test_a_comparison_needs_another(client, core):
    response = client.get(f"/v1/models/{fakes.add_model(core).id}/diff")

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")


def test_a_deprecated_model_says_so(client, core):
    model = fakes.add_model(core)

    assert client.post(f"/v1/models/{model.id}/deprecate").json["status"] == "deprecated"
    assert client.get(f"/v1/models/{model.id}").json["status"] == "deprecated"


def test_a_model_in_use_is_not_deleted(client, core):
    free, used = fakes.add_model(core), fakes.add_model(core, name="used")
    core.registry.models.in_use.add(used.id)

    assert client.delete(f"/v1/models/{free.id}").status_code == 204
    response = client.delete(f"/v1/models/{used.id}")

    assert (response.status_code, response.json["code"]) == (409, "in_use")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/deprecate"), ("GET", "/diff?other=x")]
)
@pytest.mark.parametrize("model_id", ["x", "0" * 32])
def test_an_unknown_model_is_not_found(client, method, path, model_id):
    response = client.open(f"/v1/models/{model_id}{path}", method=method)

    assert (response.status_code, response.json["code"]) == (404, "model_not_found")


def test_a_deployment_is_a_record_with_a_starting_service(client, core):
    model = fakes.add_model(core)

    made = client.post("/v1/deployments", json={"model_id": model.id, "environment": "production"})

    assert made.status_code == 201
    shown = client.get(made.headers["Location"]).json
    assert shown == made.json
    assert (shown["status"], shown["environment"]) == ("deploying", "production")
    assert core.serving.services.rows[shown["service_id"]].state is ServiceState.DEPLOYING
    assert client.get("/v1/deployments").json["deployments"][0]["deployment_id"] == shown["deployment_id"]
    assert client.get(f"/v1/deployments?model_id={new_id()}").json["deployments"] == []


def test_a_deployment_outlives_its_service(client, core):
    made = client.post("/v1/deployments", json={"model_id": fakes.add_model(core).id, "environment": "e"}).json
    core.serving.services.delete(Scope("default"), made["service_id"])

    assert client.get(f"/v1/deployments/{made['deployment_id']}").json["status"] == "deleted"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"environment": "e"}, 422, "invalid_field"),
        ({"model_id": "x", "environment": "e"}, 404, "model_not_found"),
        ({"model_id": "0" * 32, "environment": ""}, 422, "invalid_field"),
        ({"model_id": "0" * 32, "environment": "e", "config": {"colour": 1}}, 422, "unknown_field"),
    ],
)
def test_a_bad_deployment_is_refused(client, body, status, code):
    response = client.post("/v1/deployments", json=body)

    assert (response.status_code, response.json["code"]) == (status, code)


def test_an_unknown_deployment_is_not_found(client):
    assert client.get("/v1/deployments/x").json["code"] == "deployment_not_found"


@pytest.mark.parametrize("path", ["/v1/uploads", f"{BASE}/uploads", "/api/inference/uploads"])
def test_an_upload_is_named_by_its_content(client, core, path):
    response = client.post(path, data=b"content")

    assert response.status_code == 201
    assert (response.json["sha256"], response.json["size_bytes"]) == (hashlib.sha256(b"content").hexdigest(), 7)
    assert response.json["upload_id"] in core.registry.uploads.rows


def test_an_empty_upload_is_refused(client, core):
    response = client.post("/v1/uploads", data=b"")

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")
    assert core.registry.uploads.rows == {}


def test_an_upload_over_the_limit_is_refused_before_it_is_read(client, core):
    response = client.post("/v1/uploads", data=b"x", environ_overrides={"CONTENT_LENGTH": str(1 << 40)})

    assert (response.status_code, response.json["code"]) == (413, "too_large")
