"""Tenants over HTTP: the business of system keys alone."""

from pathlib import Path

import pytest

from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope
from inference.ids import DEFAULT_TENANT
from inference.settings import AccessSettings, Settings
from tests import fakes

BASE = "/api/v1/inference"


@pytest.fixture
def core():
    """One whose door reads again before each request."""
    made = fakes.make_core(Settings(data_dir=Path("/nowhere"), access=AccessSettings(refresh_s=0.0)))
    yield made
    made.close()


def call(client, method, path="", body=None, *, key=None):
    headers = {"X-API-Key": key} if key else {}
    return client.open(f"{BASE}/tenants{path}", method=method, json=body, headers=headers)


def test_a_tenant_is_made_shown_changed_and_deleted(client, core):
    made = call(client, "POST", body={"tenant_id": "acme", "limits": {"jobs_waiting": 7}})
    changed = call(client, "PATCH", "/acme", {"name": "Acme", "limits": {"bytes_stored": 9}, "disabled": True})
    listed = call(client, "GET")
    deleted = call(client, "DELETE", "/acme")
    gone = call(client, "GET", "/acme")

    assert (made.status_code, made.headers["Location"]) == (201, f"{BASE}/tenants/acme")
    assert (made.json["name"], made.json["limits"]) == ("acme", {"jobs_waiting": 7, "weight": 1.0})
    assert changed.json["limits"] == {"jobs_waiting": 7, "bytes_stored": 9, "weight": 1.0}
    assert changed.json["disabled"] is True
    assert [row["tenant_id"] for row in listed.json["tenants"]] == ["acme", DEFAULT_TENANT]
    assert deleted.status_code == 204
    assert (gone.status_code, gone.json["code"]) == (404, "tenant_not_found")


def test_tenants_are_paged_by_id(client, core):
    for name in ("a", "b", "c"):
        call(client, "POST", body={"tenant_id": name})

    first = call(client, "GET", "?limit=2").json
    second = call(client, "GET", f"?limit=2&cursor={first['next']}").json

    assert [row["tenant_id"] for row in first["tenants"]] == ["a", "b"]
    assert [row["tenant_id"] for row in second["tenants"]] == ["c", DEFAULT_TENANT]
    assert "next" not in second


@pytest.mark.parametrize("tenant_id", ["", "A", "-a", "a" * 65, "a b", "ä", "a\n"])
def test_an_id_has_a_form(client, tenant_id):
    answer = call(client, "POST", body={"tenant_id": tenant_id})

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_field")


def test_an_id_in_use_is_refused(client):
    answer = call(client, "POST", body={"tenant_id": DEFAULT_TENANT})

    assert (answer.status_code, answer.json["code"]) == (409, "name_exists")


@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PATCH", {"disabled": True})])
def test_nobody_locks_themselves_or_the_installation_out(client, core, method, body):
    call(client, "POST", body={"tenant_id": "acme"})
    own = keys.create(core.access, by=ANYBODY, name="k", role=Role.ADMIN, scope=Scope("acme"), is_system=True)

    answers = [call(client, method, f"/{name}", body, key=own.text) for name in ("acme", DEFAULT_TENANT)]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(409, "wrong_state")] * 2


def test_a_tenant_with_data_stays(client, core):
    call(client, "POST", body={"tenant_id": "acme"})
    core.access.tenants.used.add("acme")

    answer = call(client, "DELETE", "/acme")

    assert (answer.status_code, answer.json["code"]) == (409, "in_use")


def test_a_key_of_a_tenant_sees_no_tenant_not_even_its_own(client, core):
    admin = keys.create(core.access, by=ANYBODY, name="k", role=Role.ADMIN, scope=Scope(DEFAULT_TENANT))

    answers = [
        call(client, method, path, body, key=admin.text)
        for method, path, body in [
            ("GET", "", None), ("POST", "", {"tenant_id": "x"}), ("GET", f"/{DEFAULT_TENANT}", None),
            ("GET", "/none", None),            ("PATCH", "/none", {}), ("DELETE", "/none", None),
        ]
    ]  # fmt: skip

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(403, "scope_too_narrow")] * 6


def test_keys_of_a_disabled_tenant_open_nothing(client, core):
    call(client, "POST", body={"tenant_id": "acme"})
    key = keys.create(core.access, by=ANYBODY, name="k", role=Role.ADMIN, scope=Scope("acme")).text
    system = keys.create(
        core.access, by=ANYBODY, name="s", role=Role.ADMIN, scope=Scope(DEFAULT_TENANT), is_system=True
    )
    before = client.get(f"{BASE}/me", headers={"X-API-Key": key})

    call(client, "PATCH", "/acme", {"disabled": True}, key=system.text)
    after = client.get(f"{BASE}/me", headers={"X-API-Key": key})

    assert (before.status_code, after.status_code) == (200, 401)
