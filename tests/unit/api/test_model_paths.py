"""Whose files a model_path may name."""

import dataclasses

import pytest

from api.v1 import models as views
from api.v1 import short_form
from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope
from inference.ids import DEFAULT_TENANT, new_id
from tests import fakes

BASE = "/api/v1/inference"


@pytest.fixture(autouse=True)
def _accepting(core, monkeypatch):
    """A registry that accepts everything."""

    def register(ports, **fields):
        del ports
        return fakes.add_model(core, name=fields["name"], version=fields["version"])

    monkeypatch.setattr(views.registration, "register", register)
    monkeypatch.setattr(short_form.register, "register", register)


@pytest.fixture
def operator(core):
    made = keys.create(core.access, by=ANYBODY, name="o", role=Role.OPERATOR, scope=Scope(DEFAULT_TENANT))
    return {"Authorization": f"Bearer {made.text}"}


def both(client, model_path, headers):
    """What the two calls that take a model_path answer."""
    long = {"name": "m", "version": "1.0.0", "framework": "onnx", "model_path": model_path}
    short = {"name": "n", "framework": "onnx", "model_path": model_path}
    return [
        client.post("/v1/models/register", json=long, headers=headers),
        client.post(f"{BASE}/services", json=short, headers=headers),
    ]


@pytest.mark.parametrize("model_path", ["/etc/passwd", "file:///etc/passwd"])
def test_with_keys_and_no_folder_opened_no_file_of_this_machine_is_named(client, operator, model_path):
    answers = both(client, model_path, operator)

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(422, "model_path_refused")] * 2
    assert all("PENSTOCK_REGISTRY__MODEL_ROOTS" in answer.json["message"] for answer in answers)
    assert all("upload:" in answer.json["message"] for answer in answers)


def test_an_upload_is_always_accepted(client, operator):
    assert [answer.status_code for answer in both(client, f"upload:{new_id()}", operator)] == [201, 201]


def test_a_folder_that_was_opened_may_be_named(client, application, core, operator):
    opened = dataclasses.replace(core.settings.registry, model_roots="/models")
    settings = dataclasses.replace(core.settings, registry=opened)
    application.extensions["penstock"] = dataclasses.replace(core, settings=settings)

    assert [answer.status_code for answer in both(client, "/models/m.onnx", operator)] == [201, 201]


def test_on_an_open_system_any_file_may_be_named(client):
    assert [answer.status_code for answer in both(client, "/anywhere/m.onnx", {})] == [201, 201]
