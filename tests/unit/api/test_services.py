"""S1, S2: services over HTTP."""

import hashlib
import re

import pytest

from api.v1 import short_form
from inference.ids import new_id
from inference.serving.model import Desired, Observed, Profile, Replica, ServiceState
from tests import fakes

BASE = "/api/v1/inference"


@pytest.fixture
def model(core):
    return fakes.add_model(core)


def create(client, **body):
    return client.post(f"{BASE}/services", json=body)


def test_a_service_is_created_pending(client, model):
    response = create(client, model_id=model.id, name="digits", config={"replicas": 2})

    assert response.status_code == 201
    assert response.json["status"] == "pending"
    assert response.headers["Location"] == f"{BASE}/services/{response.json['service_id']}"
    shown = client.get(response.headers["Location"]).json
    assert (shown["name"], shown["replicas"], shown["config"]) == ("digits", 2, {"replicas": 2})
    assert (shown["replicas_ready"], shown["instances"], shown["profile"]) == (0, 1, None)


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({}, 422, "invalid_field", "model_id"),
        ({"model_id": "x"}, 404, "model_not_found", "x"),
        ({"model_id": "0" * 32}, 404, "model_not_found", ""),
        ({"model_id": 5}, 422, "invalid_field", "model_id"),
        ({"config": {"replicas": "two"}}, 422, "invalid_field", "config.replicas"),
        ({"config": {"colour": 1}}, 422, "unknown_field", "colour"),
        ({"config": []}, 422, "invalid_field", "config"),
        ({"colour": 1}, 422, "unknown_field", "`colour`"),
        ({"description": "x"}, 422, "unknown_field", "description"),
        ({"name": "a\0b"}, 422, "invalid_field", "NUL"),
    ],
)
def test_a_bad_service_is_refused_by_field(client, core, model, body, status, code, says):
    response = create(client, **({"model_id": model.id, **body} if body else {}))

    assert (response.status_code, response.json["code"]) == (status, code)
    assert says in response.json["message"]
    assert core.serving.services.rows == {}


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_start_stop_and_restart_need_no_body(client, core, body):
    service = fakes.add_service(core, state=ServiceState.PENDING)

    def call(verb):
        return client.post(f"{BASE}/services/{service.id}/{verb}", data=body)

    started, restarted, stopped = call("start"), call("restart"), call("stop")

    assert (started.status_code, started.json["status"]) == (200, "deploying")
    assert started.json["started_at"].endswith("Z")
    assert (restarted.status_code, restarted.json["status"]) == (200, "deploying")
    assert (stopped.json["status"], set(stopped.json)) == ("stopping", {"service_id", "status", "stopped_at"})
    events = client.get(f"{BASE}/services/{service.id}/history").json["events"]
    assert [(event["from"], event["to"]) for event in events] == [("deploying", "stopping"), ("pending", "deploying")]
    assert all(event["reason"] and event["at"] for event in events)


def test_scale_sets_replicas_and_instances(client, service):
    response = client.post(f"{BASE}/services/{service.id}/scale", json={"replicas": 3, "instances": 2})

    assert response.status_code == 200
    assert (response.json["replicas"], response.json["instances"]) == (3, 2)
    assert response.json["scaled_at"].endswith("Z")


@pytest.mark.parametrize(
    "body", [{}, {"replicas": "3"}, {"replicas": True}, {"replicas": -1}, {"replicas": 1.5}, {"replicas": None}]
)
def test_an_impossible_size_is_refused(client, service, body):
    response = client.post(f"{BASE}/services/{service.id}/scale", json=body)

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")
    assert "replicas" in response.json["message"]


def test_a_config_is_changed_in_parts(client, core):
    service = fakes.add_service(core, replicas=2)

    response = client.patch(f"{BASE}/services/{service.id}", json={"config": {"max_batch": 16}})

    assert response.status_code == 200
    assert response.json["config"] == {"replicas": 2, "max_batch": 16}
    assert response.json["revision"] == 2


def test_a_service_is_taken_to_another_version_of_its_model(client, core, service):
    old = core.registry.models.get("default", service.model_id)
    new, other = fakes.add_model(core, name=old.name, version="2.0.0"), fakes.add_model(core, name="other")

    def switch(model_id):
        return client.patch(f"{BASE}/services/{service.id}", json={"model_id": model_id})

    switched, refused, unknown = switch(new.id), switch(other.id), switch("x")

    assert (switched.status_code, switched.json["model_id"], switched.json["revision"]) == (200, new.id, 2)
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_field")
    assert (unknown.status_code, unknown.json["code"]) == (404, "model_not_found")


def test_a_stopped_service_is_deleted_and_a_running_one_is_not(client, core, service):
    stopped = fakes.add_service(core, model=fakes.add_model(core, name="b"), state=ServiceState.STOPPED)

    refused = client.delete(f"{BASE}/services/{service.id}")
    deleted = client.delete(f"{BASE}/services/{stopped.id}")

    assert (refused.status_code, refused.json["code"]) == (409, "wrong_state")
    assert "stop it first" in refused.json["message"]
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert client.get(f"{BASE}/services/{stopped.id}").status_code == 404


def test_services_are_listed_by_state_and_page(client, core, model):
    ids = [fakes.add_service(core, model=model).id for _ in range(3)]
    stopped = fakes.add_service(core, model=model, state=ServiceState.STOPPED)

    first = client.get(f"{BASE}/services?limit=2&status=running").json
    rest = client.get(f"{BASE}/services?limit=2&status=running&cursor={first['next']}").json

    shown = [service["service_id"] for service in first["services"] + rest["services"]]
    assert shown == sorted(ids, reverse=True)
    assert "next" not in rest
    assert client.get(f"{BASE}/services?status=stopped").json["services"][0]["service_id"] == stopped.id


@pytest.mark.parametrize("query", ["limit=0", "limit=2000", "limit=x", "status=asleep", "cursor=x", "colour=1"])
def test_a_bad_list_query_is_refused(client, query):
    assert client.get(f"{BASE}/services?{query}").status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/history"), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop"), ("POST", "/restart")],
)
@pytest.mark.parametrize("service_id", ["x", "0" * 32])
def test_an_unknown_service_is_not_found_everywhere(client, method, path, service_id):
    response = client.open(f"{BASE}/services/{service_id}{path}", method=method)

    assert (response.status_code, response.json["code"]) == (404, "service_not_found")


def test_a_service_shows_replicas_and_the_curve_of_its_device(client, core, service):
    core.serving.replicas.rows.append(
        Replica(
            id=new_id(), service_id=service.id, ordinal=0, node_id="n", device="cpu", desired=Desired.RUNNING,
            observed=Observed.READY, generation=1, revision=1, instances=1, instances_ready=1, load_failures=0,
            restarts=2,
        )
    )  # fmt: skip
    for kind, batch in (("NVIDIA H200", 32), ("cpu/1", 16)):
        core.serving.profiles.rows.append(
            Profile(model_id=service.model_id, device_kind=kind, provider=kind, max_batch=batch,
                    curve=((1, 0.5, 0.75),), measured_at=100.0)
        )  # fmt: skip

    shown = client.get(f"{BASE}/services/{service.id}").json

    assert (shown["replicas_ready"], shown["instances_ready"]) == (1, 1)
    assert shown["profile"]["max_batch"] == 16
    assert shown["profile"]["curve"] == [{"rows": 1, "median_ms": 0.5, "p99_ms": 0.75}]
    assert len(shown["profiles"]) == 2
    assert shown["replica_list"][0]["restarts"] == 2


def test_the_short_form_registers_creates_and_starts(client, core, monkeypatch):
    registered = []

    def register(ports, **fields):
        registered.append(fields)
        return fakes.add_model(core, name=fields["name"], version=fields["version"])

    monkeypatch.setattr(short_form.register, "register", register)
    body = {"name": "digits", "model_path": "/m.onnx", "framework": "onnx", "description": "d", "customer_id": "c"}

    response = client.post("/api/inference/services", json=body)

    assert response.status_code == 201
    shown = response.json
    assert shown["status"] == "deploying"
    assert re.fullmatch("pst_[0-9a-f]{12}_[0-9a-f]{64}", shown["api_key"])
    assert shown["endpoint_url"] == f"http://localhost/api/inference/services/{shown['service_id']}/tasks"
    assert registered[0]["version"] == "1.0.0"
    assert registered[0]["metadata"] == {"description": "d", "customer_id": "c"}


def test_the_short_form_uses_a_registered_version_of_the_same_file_again(client, core, tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(b"weights")
    model = fakes.add_model(core, name="digits", version="2.0.0", sha256=hashlib.sha256(b"weights").hexdigest())

    response = create(client, name="digits", model_path=str(file), framework="onnx")

    assert response.status_code == 201
    assert response.json["model_id"] == model.id
    assert len(core.registry.models.rows) == 1


@pytest.mark.parametrize("missing", ["name", "model_path", "framework"])
def test_the_short_form_names_what_is_missing(client, missing):
    body = {"name": "n", "model_path": "/m", "framework": "onnx"}
    del body[missing]

    response = create(client, **body)

    assert (response.status_code, response.json["code"]) == (422, "invalid_field")
    assert missing in response.json["message"] or "model_id" in response.json["message"]


def test_a_model_and_a_file_are_one_too_many(client, model):
    response = create(client, model_id=model.id, name="n", model_path="/m", framework="onnx")

    assert response.json["code"] == "invalid_field"


@pytest.mark.parametrize(
    ("known", "following"),
    [([], "1.0.0"), (["0.9.0"], "0.9.1"), (["1.0.9", "1.0.10", "1.0.2"], "1.0.11"), (["2.0.0-rc.1"], "2.0.1")],
)
def test_the_next_version_is_the_patch_after_the_highest(known, following):
    assert short_form.next_version(known) == following
