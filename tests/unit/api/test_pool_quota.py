"""A tenant's quotas of the pool over HTTP: what would start or grow beyond them is refused in one sentence."""

import dataclasses

import pytest

from api import context
from inference.access.model import ANYBODY, Limits
from inference.serving.model import ServiceState
from tests.fakes import add_model, add_service

BASE = "/api/v1/inference"


@pytest.fixture
def service(core, monkeypatch):
    """One that runs with a replica, of a tenant that may have two."""
    limited = dataclasses.replace(ANYBODY, tenant_limits=Limits(replicas=2))
    monkeypatch.setattr(context, "principal", lambda: limited)
    return add_service(core, model=add_model(core))


def test_scaling_beyond_the_quota_is_refused_and_changes_nothing(client, core, service):
    allowed = client.post(f"{BASE}/services/{service.id}/scale", json={"replicas": 2})
    refused = client.post(f"{BASE}/services/{service.id}/scale", json={"replicas": 3})
    patched = client.patch(f"{BASE}/services/{service.id}", json={"config": {"replicas": 3}})

    assert (allowed.status_code, refused.status_code, patched.status_code) == (200, 429, 429)
    assert refused.json["code"] == "quota_exceeded"
    assert refused.json["message"].startswith("This tenant may have 2 replicas; its other services have 0")
    assert int(refused.headers["Retry-After"]) > 0
    assert core.serving.services.rows[service.id].config.replicas == 2


def test_a_start_beyond_the_quota_is_refused(client, core, service):
    other = add_service(core, model=add_model(core, name="other"), state=ServiceState.STOPPED, replicas=2)

    refused = client.post(f"{BASE}/services/{other.id}/start")
    running = client.post(f"{BASE}/services/{service.id}/start")

    assert (refused.status_code, running.status_code) == (429, 200)
    assert core.serving.services.rows[other.id].state is ServiceState.STOPPED


def test_a_deployment_beyond_the_quota_leaves_no_service(client, core, service):
    body = {"model_id": service.model_id, "environment": "production", "config": {"replicas": 2}}

    assert client.post("/v1/deployments", json=body).status_code == 429
    assert len(core.serving.services.rows) == 1
