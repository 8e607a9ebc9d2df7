"""Keys over HTTP: who may make which, what is shown, and what never is."""

import dataclasses
from pathlib import Path

import pytest

from inference.access import keys
from inference.access.model import ANYBODY, Limits, Role, Scope, Tenant
from inference.ids import DEFAULT_TENANT, new_id
from inference.settings import AccessSettings, Settings
from tests import fakes

BASE = "/api/v1/inference"


@pytest.fixture
def core():
    """One whose door reads again before each request."""
    made = fakes.make_core(Settings(data_dir=Path("/nowhere"), access=AccessSettings(refresh_s=0.0)))
    yield made
    made.close()


@pytest.fixture
def ask(client, core):
    """Calls with a key, or without one on an open system."""

    def call(method, path, body=None, *, key=None, expect=200):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = client.open(f"{BASE}{path}", method=method, json=body, headers=headers)
        assert answer.status_code == expect, answer.text
        if answer.status_code >= 400:
            return answer.json["code"]
        return answer.json

    return call


def make(core, role=Role.ADMIN, scope=None, *, is_system=False, **options):
    scope = scope or Scope(DEFAULT_TENANT)
    return keys.create(core.access, by=ANYBODY, name="k", role=role, scope=scope, is_system=is_system, **options)


def other_tenant(core, name="acme"):
    core.access.tenants.insert(Tenant(id=name, name=name, created_at=1.0))
    return name


def test_a_key_is_made_with_its_text_shown_once(client, core, service):
    body = {"name": "line 3", "role": "submitter", "service_id": service.id, "limits": {"requests_per_s": 5}}

    made = client.post(f"{BASE}/keys", json=body)

    assert made.status_code == 201
    assert made.headers["Location"] == f"{BASE}/keys/{made.json['key_id']}"
    assert made.json["key"].startswith(f"pst_{made.json['key_id']}_")
    assert made.json["limits"] == {"requests_per_s": 5.0, "weight": 1.0}
    assert made.json["service_id"] == service.id
    kept = core.access.keys.rows[made.json["key_id"]]
    assert (kept.role, kept.scope) == (Role.SUBMITTER, Scope(DEFAULT_TENANT, service_id=service.id))


def test_no_list_shows_a_text_or_what_it_is_checked_by(ask, core):
    made = make(core, is_system=True)

    page = ask("GET", "/keys", key=made.text)
    shown = ask("GET", f"/keys/{made.key.id}", key=made.text)

    assert page["keys"] == [shown]
    assert not {"key", "digest", "text"} & set(shown)
    assert made.text.rpartition("_")[2] not in str(page)


def test_lists_are_paged_newest_first(ask, core):
    admin = make(core, is_system=True)
    made = [make(core, Role.VIEWER).key.id for _ in range(4)]

    seen, cursor = [], ""
    while True:
        page = ask("GET", f"/keys?limit=2{cursor}", key=admin.text)
        seen += [key["key_id"] for key in page["keys"]]
        if "next" not in page:
            break
        cursor = f"&cursor={page['next']}"

    assert seen == [*reversed(made), admin.key.id]


@pytest.mark.parametrize("cursor", ["x", "4" * 27, "f" * 28])
def test_a_cursor_that_was_never_given_out_is_refused(ask, cursor):
    assert ask("GET", f"/keys?cursor={cursor}", expect=422) == "invalid_field"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"role": "viewer"}, "invalid_field"),
        ({"name": "k", "role": "root"}, "invalid_field"),
        ({"name": " k", "role": "viewer"}, "invalid_field"),
        ({"name": "k", "role": "viewer", "expires_in_s": 0.5}, "invalid_field"),
        ({"name": "k", "role": "viewer", "expires_in_s": True}, "invalid_field"),
        ({"name": "k", "role": "viewer", "expires_at": "yesterday"}, "invalid_field"),
        ({"name": "k", "role": "viewer", "expires_at": "2001-01-01"}, "invalid_field"),
        ({"name": "k", "role": "viewer", "expires_at": "2099-01-01", "expires_in_s": 60}, "invalid_field"),
        ({"name": "k", "role": "viewer", "limits": {"jobs_waiting": -1}}, "invalid_field"),
        ({"name": "k", "role": "viewer", "limits": {"weight": 0}}, "invalid_field"),
        ({"name": "k", "role": "viewer", "limits": {"speed": 1}}, "unknown_field"),
        ({"name": "k", "role": "viewer", "workspace_id": " w"}, "invalid_field"),
        ({"name": "k", "role": "viewer", "workspace_id": "w", "is_system": True}, "invalid_field"),
    ],
)
def test_impossible_keys_are_refused(ask, body, code):
    assert ask("POST", "/keys", body, expect=422) == code


def test_a_key_is_for_a_service_that_its_maker_sees(ask, core, service):
    acme = other_tenant(core)
    stranger = make(core, scope=Scope(acme))
    one = make(core, scope=Scope(DEFAULT_TENANT, service_id=service.id))
    body = {"name": "k", "role": "viewer"}

    assert ask("POST", "/keys", {**body, "service_id": new_id()}, key=one.text, expect=404) == "service_not_found"
    assert ask("POST", "/keys", {**body, "service_id": "x"}, key=stranger.text, expect=404) == "service_not_found"
    assert ask("POST", "/keys", {**body, "service_id": service.id}, key=stranger.text, expect=404)
    assert ask("POST", "/keys", body, key=one.text, expect=201)["service_id"] == service.id


def test_another_tenant_is_there_for_system_keys_alone(ask, core):
    acme = other_tenant(core)
    system, plain = make(core, is_system=True), make(core)
    body = {"name": "k", "role": "admin", "tenant_id": acme}

    assert ask("POST", "/keys", body, key=plain.text, expect=404) == "tenant_not_found"
    assert ask("POST", "/keys", {**body, "tenant_id": "none"}, key=plain.text, expect=404) == "tenant_not_found"
    assert ask("POST", "/keys", {**body, "tenant_id": "none"}, key=system.text, expect=404) == "tenant_not_found"
    assert ask("POST", "/keys", {**body, "tenant_id": "No!"}, key=system.text, expect=404) == "tenant_not_found"
    assert ask("POST", "/keys", body, key=system.text, expect=201)["tenant_id"] == acme


def test_nobody_hands_out_more_than_they_have(ask, core):
    tenant = make(core)
    workspace = make(core, scope=Scope(DEFAULT_TENANT, "red"))
    body = {"name": "k", "role": "admin"}

    assert ask("POST", "/keys", {**body, "is_system": True}, key=tenant.text, expect=403) == "scope_too_narrow"
    assert ask("POST", "/keys", {**body, "workspace_id": "blue"}, key=workspace.text, expect=403) == "scope_too_narrow"
    assert ask("POST", "/keys", body, key=workspace.text, expect=201)["workspace_id"] == "red"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("GET", ""),
        ("GET", "/{id}"),
        ("PATCH", "/{id}"),
        ("POST", "/{id}/rotate"),
        ("POST", "/{id}/revoke"),
    ],
)
def test_keys_are_the_business_of_admins(ask, core, method, path):
    operator = make(core, Role.OPERATOR)
    path = f"/keys{path}".format(id=operator.key.id)

    assert ask(method, path, {} if method != "GET" else None, key=operator.text, expect=403) == "role_too_low"


@pytest.mark.parametrize("path", ["/keys/{id}", "/keys/{id}/rotate", "/keys/{id}/revoke"])
def test_a_key_outside_the_scope_is_not_there(ask, core, path):
    stranger = make(core, scope=Scope(other_tenant(core)))
    mine = make(core, is_system=True)
    before = dict(core.access.keys.rows)
    method = "GET" if path == "/keys/{id}" else "POST"

    assert ask(method, path.format(id=mine.key.id), key=stranger.text, expect=404) == "key_not_found"
    assert ask(method, path.format(id="0" * 12), key=stranger.text, expect=404) == "key_not_found"
    assert ask(method, path.format(id="no-id"), key=stranger.text, expect=404) == "key_not_found"
    assert core.access.keys.rows == before


def test_a_key_of_the_system_is_not_rotated_by_an_admin_of_its_tenant(ask, core):
    system, tenant = make(core, is_system=True), make(core)

    assert ask("POST", f"/keys/{system.key.id}/rotate", {}, key=tenant.text, expect=403) == "scope_too_narrow"
    assert ask("POST", f"/keys/{system.key.id}/revoke", {}, key=tenant.text, expect=403) == "scope_too_narrow"
    assert ask("PATCH", f"/keys/{system.key.id}", {"name": "n"}, key=tenant.text, expect=403) == "scope_too_narrow"


def test_name_and_limits_can_be_changed_and_null_takes_a_limit_away(ask, core):
    admin = make(core, is_system=True)
    key = make(core, Role.VIEWER, limits=Limits(requests_per_s=5, jobs_waiting=10))

    changed = ask(
        "PATCH", f"/keys/{key.key.id}", {"name": "new", "limits": {"jobs_waiting": None, "weight": 2}}, key=admin.text
    )

    assert changed["name"] == "new"
    assert changed["limits"] == {"requests_per_s": 5.0, "weight": 2.0}


def test_rotation_shows_a_new_text_and_says_how_long_the_old_one_opens(ask, core):
    admin, key = make(core, is_system=True), make(core, Role.VIEWER)

    rotated = ask("POST", f"/keys/{key.key.id}/rotate", key=admin.text)
    at_once = ask("POST", f"/keys/{key.key.id}/rotate", {"overlap_s": 0}, key=admin.text)

    assert rotated["key"].startswith(f"pst_{key.key.id}_")
    assert rotated["key"] != key.text
    assert rotated["previous_until"] is not None
    assert at_once["previous_until"] is None
    assert ask("POST", f"/keys/{key.key.id}/rotate", {"overlap_s": 1e9}, key=admin.text, expect=422) == "invalid_field"


def test_a_revoked_key_stays_in_the_list_and_is_never_rotated(ask, core):
    admin, key = make(core, is_system=True), make(core, Role.VIEWER)

    revoked = ask("POST", f"/keys/{key.key.id}/revoke", key=admin.text)
    again = ask("POST", f"/keys/{key.key.id}/revoke", {}, key=admin.text)

    assert revoked["revoked_at"] is not None
    assert again == revoked
    assert ask("POST", f"/keys/{key.key.id}/rotate", {}, key=admin.text, expect=409) == "wrong_state"


def test_me_says_whose_key_it_is(ask, core, service):
    key = make(
        core, Role.VIEWER, Scope(DEFAULT_TENANT, service_id=service.id), limits=Limits(requests_per_s=1, weight=3)
    )

    shown = ask("GET", "/me", key=key.text)

    wanted = {
        "key_id": key.key.id,
        "name": "k",
        "role": "viewer",
        "tenant_id": DEFAULT_TENANT,
        "workspace_id": None,
        "service_id": service.id,
        "limits": {"requests_per_s": 1.0, "weight": 3.0},
        "reach": "service",
        "tenant_limits": {"weight": 1.0},
    }
    assert {name: shown[name] for name in wanted} == wanted


def test_on_an_open_system_me_is_anybody(ask):
    assert ask("GET", "/me")["key_id"] is None


def test_workspaces_are_counted_among_the_services_that_the_caller_sees(ask, core):
    model = fakes.add_model(core)
    for name, workspace in (("a", "red"), ("b", "red"), ("c", "blue"), ("d", "")):
        made = fakes.add_service(core, model=model)
        core.serving.services.rows[made.id] = dataclasses.replace(made, name=name, workspace=workspace)
    red = make(core, Role.VIEWER, Scope(DEFAULT_TENANT, "red"))
    every = make(core, Role.VIEWER)

    def counts(key):
        return {row["workspace_id"]: row["services"] for row in ask("GET", "/workspaces", key=key.text)["workspaces"]}

    assert counts(red) == {"red": 2}
    assert counts(every) == {"": 1, "blue": 1, "red": 2}
    assert {row["name"] for row in ask("GET", "/services?workspace_id=red", key=every.text)["services"]} == {"a", "b"}
    assert {row["name"] for row in ask("GET", "/services?workspace_id=", key=every.text)["services"]} == {"d"}
    assert ask("GET", "/services?workspace_id=blue", key=red.text)["services"] == []


def test_a_service_is_created_in_the_workspace_that_is_named(ask, core):
    model = fakes.add_model(core, name="m")
    made = ask("POST", "/services", {"model_id": model.id, "workspace_id": "red"}, expect=201)

    assert ask("GET", f"/services/{made['service_id']}")["workspace_id"] == "red"
    assert ask("POST", "/services", {"model_id": model.id, "workspace_id": " "}, expect=422) == "invalid_field"
