"""Keys on the command line: which is shown to a server, and the commands that go over HTTP."""

import json
import os

import pytest

from api.cli import target
from api.cli.access_call import seconds

BASE = "/api/v1/inference"
KEY_ID = "0b51e3c2a9d4"
TEXT = f"pst_{KEY_ID}_{'a' * 64}"
ROW = {"key_id": KEY_ID, "name": "ci", "role": "admin", "tenant_id": "default", "is_system": True, "created_at": "t"}
URL = ("--url", "http://127.0.0.1:9")


def running(folder, url="http://127.0.0.1:9"):
    (folder / "run").mkdir()
    (folder / "run" / "up.json").write_text(json.dumps({"pid": os.getpid(), "urls": {"api": url}}))
    (folder / "admin.key").write_text(f"{TEXT}\n")


def test_the_key_of_the_environment_is_shown_by_every_command(penstock, server, monkeypatch):
    server.answers["GET", f"{BASE}/services"] = (200, {"services": []})
    monkeypatch.setenv("PENSTOCK_API_KEY", TEXT)

    penstock("service", "list")

    assert server.requests[-1].headers["authorization"] == f"Bearer {TEXT}"


def test_without_one_no_key_is_shown(penstock, server):
    server.answers["GET", f"{BASE}/services"] = (200, {"services": []})

    penstock("service", "list")

    assert "authorization" not in server.requests[-1].headers


def test_the_first_key_of_a_folder_goes_to_the_up_of_that_folder_alone(tmp_path):
    running(tmp_path)

    assert target.find_key("http://127.0.0.1:9", tmp_path, {}) == TEXT
    assert target.find_key("http://127.0.0.1:9/", tmp_path, {}) == TEXT
    assert target.find_key("http://elsewhere:9", tmp_path, {}) is None
    assert target.find_key("http://elsewhere:9", tmp_path, {"PENSTOCK_API_KEY": " k "}) == "k"
    (tmp_path / "admin.key").unlink()
    assert target.find_key("http://127.0.0.1:9", tmp_path, {}) is None


def test_a_refusal_for_want_of_a_key_says_how_to_give_one(penstock, server):
    server.answers["GET", f"{BASE}/services"] = (401, {"code": "unauthenticated", "message": "A key.", "details": {}})

    result = penstock("service", "list")

    assert result.exit_code == 1
    assert "PENSTOCK_API_KEY" in result.stderr
    assert "penstock key create" in result.stderr


def test_a_key_is_made_over_http_and_closing_the_system_is_said(penstock, server):
    server.answers["GET", f"{BASE}/me"] = (200, {"key_id": None})
    server.answers["POST", f"{BASE}/keys"] = (201, {**ROW, "key": TEXT})

    result = penstock("key", "create", *URL, "--name", "ci", "--workspace", "red")

    assert result.stdout == f"{TEXT}\n"
    assert "first key" in result.stderr
    assert server.last_body == {"name": "ci", "role": "admin", "workspace_id": "red", "is_system": False}


def test_a_service_is_found_by_its_name(penstock, server):
    service_id = "0" * 32
    server.answers["GET", f"{BASE}/services"] = (200, {"services": [{"name": "digits", "service_id": service_id}]})
    server.answers["GET", f"{BASE}/me"] = (200, {"key_id": KEY_ID})
    server.answers["POST", f"{BASE}/keys"] = (201, {**ROW, "is_system": False, "service_id": service_id, "key": TEXT})

    result = penstock("key", "create", *URL, "--service", "digits", "--expires-in", "2h", "--tenant", "acme")

    assert server.last_body["service_id"] == service_id
    assert server.last_body["expires_in_s"] == 7200
    assert server.last_body["tenant_id"] == "acme"
    assert "first key" not in result.stderr


def test_keys_are_listed_shown_rotated_and_revoked_over_http(penstock, server):
    revoked = {**ROW, "revoked_at": "2026-01-01T00:00:00Z"}
    expired = {**ROW, "is_system": False, "expires_at": "2001-01-01T00:00:00.000000Z"}
    server.answers["GET", f"{BASE}/keys"] = (200, {"keys": [ROW, revoked, expired]})
    server.answers["GET", f"{BASE}/keys/{KEY_ID}"] = (200, ROW)
    server.answers["POST", f"{BASE}/keys/{KEY_ID}/rotate"] = (200, {**ROW, "key": TEXT, "previous_until": "then"})
    server.answers["POST", f"{BASE}/keys/{KEY_ID}/revoke"] = (200, revoked)

    listed = penstock("key", "list", *URL).stdout
    shown = json.loads(penstock("key", "show", KEY_ID, *URL, "--json").stdout)
    rotated = penstock("key", "rotate", KEY_ID, *URL)
    gone = penstock("key", "revoke", KEY_ID, *URL).stdout

    assert [word for word in ("active", "revoked", "expired") if word in listed] == ["active", "revoked", "expired"]
    assert shown == ROW
    assert rotated.stdout == f"{TEXT}\n"
    assert "then" in rotated.stderr
    assert "revoked_at" in gone


def test_the_keys_of_another_tenant_are_the_business_of_the_database(penstock):
    result = penstock("key", "list", *URL, "--tenant", "acme")

    assert result.exit_code == 2
    assert "--tenant and --url" in result.stderr


def test_tenants_over_http(penstock, server):
    row = {"tenant_id": "acme", "name": "Acme", "limits": {}, "disabled": False}
    path = f"{BASE}/tenants"
    server.answers |= {("POST", path): (201, row), ("GET", path): (200, {"tenants": [row]})}
    server.answers |= {(method, f"{path}/acme"): (200, row) for method in ("GET", "PATCH")}
    server.answers["DELETE", f"{path}/acme"] = (204, None)

    made = penstock("tenant", "create", "acme", *URL, "--limits", '{"jobs_waiting": 1}')
    body = server.last_body
    others = [penstock("tenant", verb, *URL) for verb in ("list",)]
    others += [penstock("tenant", verb, "acme", *URL) for verb in ("show", "disable", "delete")]
    changed = penstock("tenant", "change", "acme", *URL, "--enable")

    assert body == {"tenant_id": "acme", "limits": {"jobs_waiting": 1}}
    assert [result.exit_code for result in (made, *others, changed)] == [0] * 6
    assert server.last_body == {"disabled": False}


@pytest.mark.parametrize(
    ("text", "meant"),
    [("90d", 7_776_000), ("12h", 43_200), ("30m", 1_800), ("45s", 45), ("7", 7), ("0", 0), ("2w", 1_209_600)],
)
def test_durations_are_read_as_people_write_them(text, meant):
    assert seconds(text, option="--overlap") == meant
