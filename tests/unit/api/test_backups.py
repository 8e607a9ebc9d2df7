"""Backups over HTTP: whose they are, and what a bad one is answered."""

import pytest

from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope, Tenant
from inference.backup import archive
from inference.backup.model import Archive

BASE = "/api/v1/inference"


@pytest.fixture
def of_tenant(core):
    """The header of an admin of a tenant, beside a key of the system."""
    core.access.tenants.insert(Tenant(id="acme", name="Acme", created_at=0.0))
    made = keys.create(core.access, by=ANYBODY, name="k", role=Role.ADMIN, scope=Scope("acme"))
    return {"Authorization": f"Bearer {made.text}"}


@pytest.fixture
def of_system(core, of_tenant):
    made = keys.create(core.access, by=ANYBODY, name="s", role=Role.ADMIN, scope=Scope("default"), is_system=True)
    return {"Authorization": f"Bearer {made.text}"}


def test_a_tenants_admin_takes_and_sees_backups_of_the_tenant_alone(client, of_tenant, of_system):
    own = client.post(f"{BASE}/backups", headers=of_tenant).json
    whole = client.post(f"{BASE}/backups", json={}, headers=of_system).json

    seen = [one["backup_id"] for one in client.get(f"{BASE}/backups", headers=of_tenant).json["backups"]]
    asked = [
        client.get(f"{BASE}/backups/{whole['backup_id']}/content", headers=of_tenant),
        client.post(f"{BASE}/backups/{whole['backup_id']}/restore", headers=of_tenant),
        client.delete(f"{BASE}/backups/{whole['backup_id']}", headers=of_tenant),
    ]

    assert (own["tenant_id"], whole["tenant_id"], seen) == ("acme", None, [own["backup_id"]])
    assert [answer.status_code for answer in asked] == [404, 404, 404]
    assert len(client.get(f"{BASE}/backups", headers=of_system).json["backups"]) == 2


def test_an_archive_from_elsewhere_is_for_system_keys(client, of_tenant, of_system):
    text = archive.write(
        Archive(made_at="", version="", schema="", tenant_id="", with_keys=False, sections={"services": []})
    )
    body = b'{"archive": %s}' % text

    refused = client.post(f"{BASE}/backups", data=body, headers=of_tenant)
    taken = client.post(f"{BASE}/backups", data=body, headers=of_system)

    assert (refused.status_code, refused.json["code"]) == (403, "scope_too_narrow")
    assert (taken.status_code, taken.json["origin"]) == (201, "imported")
    assert client.get(f"{BASE}/backups/{taken.json['backup_id']}/content", headers=of_system).data == text


def test_a_restore_is_a_dry_run_unless_it_is_said(client, core):
    core.backup.configuration.now = {"tenants": [], "keys": []}
    made = client.post(f"{BASE}/backups").json["backup_id"]

    tried = client.post(f"{BASE}/backups/{made}/restore").json
    core.backup.configuration.done = None
    done = client.post(f"{BASE}/backups/{made}/restore?dry_run=false").json

    assert (tried["dry_run"], done["dry_run"]) == (True, False)
    assert core.backup.configuration.done == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"archive": {"format": "tar"}}, "archive_invalid"),
        ({"archive": []}, "invalid_field"),
        ({"tenant_id": "nobody"}, "tenant_not_found"),
        ({"colour": 1}, "unknown_field"),
    ],
)
def test_a_bad_body_is_refused(client, body, code):
    assert client.post(f"{BASE}/backups", json=body).json["code"] == code
