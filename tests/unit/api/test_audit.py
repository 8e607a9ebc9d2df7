"""The audit record over HTTP: who reads which records, how they are exported, and what a broken chain says."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

from inference.access import audit, chain, keys
from inference.access.model import ANYBODY, Role, Scope, Tenant
from inference.ids import DEFAULT_TENANT, new_id
from inference.settings import AccessSettings, Settings
from tests import fakes
from tests.audit_records import keep, record, records

BASE = "/api/v1/inference"


@pytest.fixture
def core():
    """Its record holds 5 acts: the second of another tenant, the others of the default one."""
    made = fakes.make_core(Settings(data_dir=Path("/nowhere"), access=AccessSettings(refresh_s=0.0)))
    made.access.tenants.insert(Tenant(id="acme", name="acme", created_at=1.0))
    rows = []
    for seq in range(1, 6):
        tenant_id = "acme" if seq == 2 else DEFAULT_TENANT
        rows.append(record(seq, rows[-1].hash if rows else "", tenant_id=tenant_id))
    keep(made.access.audit, rows)
    yield made
    made.close()


@pytest.fixture
def ask(client):
    def call(path, *, key=None, **query):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return client.get(f"{BASE}/audit{path}", query_string=query, headers=headers)

    return call


def key(core, role=Role.ADMIN, *, is_system=False, **scope):
    scope = Scope(scope.pop("tenant_id", DEFAULT_TENANT), **scope)
    return keys.create(core.access, by=ANYBODY, name="k", role=role, scope=scope, is_system=is_system).text


def seqs(answer):
    assert answer.status_code == 200, answer.text
    return [row["seq"] for row in answer.json["records"]]


def test_a_record_is_shown_as_its_digest_reads_it(ask, core):
    shown = ask("").json["records"][-1]

    assert shown == json.loads(chain.canonical(chain.shown(core.access.audit.rows[0])))
    assert shown["at"].endswith("Z")


def test_records_come_newest_first_and_in_pages(ask):
    first = ask("", limit=2)
    second = ask("", limit=2, cursor=first.json["next"])
    third = ask("", limit=2, cursor=second.json["next"])

    assert (seqs(first), seqs(second), seqs(third)) == ([5, 4], [3, 2], [1])
    assert "next" not in third.json


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"action": "service.start"}, [5, 4, 3, 2, 1]),
        ({"action": "service.stop"}, []),
        ({"actor": "0b51e3c2a9d4"}, [5, 4, 3, 2, 1]),
        ({"object_kind": "key"}, []),
        ({"object_id": "s"}, [5, 4, 3, 2, 1]),
        ({"tenant_id": "acme"}, [2]),
        ({"from": "2026-09-21T14:13:23Z"}, [5, 4, 3]),
        ({"from": "2026-09-21T14:13:23.250000Z", "to": "2026-09-21T16:13:24.250000+02:00"}, [3]),
    ],
)
def test_records_are_filtered(ask, query, found):
    assert seqs(ask("", **query)) == found


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("", {"cursor": "0"}, 422, "invalid_field"),
        ("", {"cursor": "x"}, 422, "invalid_field"),
        ("", {"cursor": "1\n"}, 422, "invalid_field"),
        ("", {"limit": "0"}, 422, "invalid_field"),
        ("", {"from": "yesterday"}, 422, "invalid_field"),
        ("", {"action": "a\0b"}, 422, "invalid_field"),
        ("", {"colour": "red"}, 422, "unknown_field"),
        ("", {"tenant_id": "Acme"}, 404, "tenant_not_found"),
        ("/export", {"format": "xlsx"}, 422, "invalid_field"),
        ("/export", {"to": "2026-13-01"}, 422, "invalid_field"),
        ("/export", {"limit": "5"}, 422, "unknown_field"),
        ("/export", {"tenant_id": "Acme"}, 404, "tenant_not_found"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(ask, path, query, status, code):
    answer = ask(path, **query)

    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_an_admin_reads_its_own_tenants_records_and_a_system_key_all(ask, core):
    of_tenant, of_acme, of_system = key(core), key(core, tenant_id="acme"), key(core, is_system=True)

    assert seqs(ask("", key=of_tenant)) == seqs(ask("", key=of_tenant, tenant_id=DEFAULT_TENANT)) == [5, 4, 3, 1]
    assert seqs(ask("", key=of_acme)) == [2]
    assert seqs(ask("", key=of_system)) == [5, 4, 3, 2, 1]
    assert seqs(ask("", key=of_system, tenant_id="acme")) == [2]
    assert [json.loads(line)["seq"] for line in ask("/export", key=of_acme).text.splitlines()] == [2]


@pytest.mark.parametrize("path", ["", "/export"])
@pytest.mark.parametrize("tenant_id", ["acme", "nobody"])
def test_another_tenant_is_not_there_for_an_admin(ask, core, path, tenant_id):
    answer = ask(path, key=key(core), tenant_id=tenant_id)

    assert (answer.status_code, answer.json["code"]) == (404, "tenant_not_found")


def test_only_admins_of_a_whole_tenant_read_and_only_system_keys_verify(ask, core, service):
    operator, of_service = key(core, Role.OPERATOR), key(core, service_id=new_id())
    of_workspace, of_tenant, of_system = key(core, workspace="w"), key(core), key(core, is_system=True)

    def codes(path):
        answers = [ask(path, key=one) for one in (operator, of_service, of_workspace, of_tenant, of_system)]
        return [answer.status_code if answer.status_code == 200 else answer.json["code"] for answer in answers]

    assert codes("") == ["role_too_low", "scope_too_narrow", "scope_too_narrow", 200, 200]
    assert codes("/export") == ["role_too_low", "scope_too_narrow", "scope_too_narrow", 200, 200]
    assert codes("/verify") == ["role_too_low", "scope_too_narrow", "scope_too_narrow", "scope_too_narrow", 200]
    assert ask("").json["code"] == "unauthenticated"


def test_exported_lines_are_what_the_digest_is_over(ask, core, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 2)

    answer = ask("/export")

    assert (answer.status_code, answer.mimetype) == (200, "application/x-ndjson")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.jsonl"'
    assert answer.text == "".join(f"{chain.canonical(chain.shown(row))}\n" for row in core.access.audit.rows)


def test_an_export_of_nothing_is_empty_and_a_table_has_its_heading(ask, core):
    keep(core.access.audit, [])

    assert ask("/export").text == ""
    assert ask("/export", format="csv").text.startswith("seq,at,tenant_id,")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_table_holds_no_formula(ask, core, text):
    keep(core.access.audit, [record(1, "", actor_name=text, object_id='a,"b"\nc', before={"=x": "=1"})])

    answer = ask("/export", format="csv")

    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert answer.content_type == "text/csv; charset=utf-8"
    assert row["actor_name"] == f"'{text}"
    assert (row["object_id"], json.loads(row["before"])) == ('a,"b"\nc', {"=x": "=1"})
    assert row["hash"] == core.access.audit.rows[0].hash


def test_a_long_export_is_read_page_by_page(ask, core, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 7)
    keep(core.access.audit, records(500))
    asked = []
    find = core.access.audit.find
    monkeypatch.setattr(core.access.audit, "find", lambda which: asked.append(which.limit) or find(which))

    lines = ask("/export").text.splitlines()

    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 501))
    assert set(asked) == {7}


def test_a_sound_record_says_so_with_its_head(ask, core):
    assert ask("/verify").json == {"is_sound": True, "records": 5, "head": core.access.audit.rows[-1].hash}


def test_a_broken_record_says_where(ask, core):
    rows = core.access.audit.rows
    rows[2] = dataclasses.replace(rows[2], actor_name="nobody")

    answer = ask("/verify")

    assert answer.status_code == 200
    assert answer.json == {
        "is_sound": False,
        "records": 2,
        "head": rows[1].hash,
        "broken": {"seq": 3, "message": "Record 3 was changed: its hash is not that of its fields."},
    }
