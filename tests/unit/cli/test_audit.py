"""`penstock audit` as a person and a script meet it."""

import json

import pytest

BASE = "/api/v1/inference"
RECORD = {
    "seq": 7,
    "at": "2026-11-20T06:30:00.000000Z",
    "actor_name": "line 3",
    "address": "192.0.2.7",
    "action": "service.stop",
    "object_id": "5" * 32,
    "before": {"state": "running"},
    "after": {"state": "stopping"},
}


def test_records_are_a_table_for_people_and_filters_go_to_the_server(penstock, server):
    server.answers["GET", f"{BASE}/audit"] = (200, {"records": [RECORD], "next": "7"})

    result = penstock(
        "audit", "list", "--action", "service.stop", "--actor", "k", "--kind", "service", "--object", "5" * 32,
        "--from", "2026-11-20", "--to", "2026-11-21", "--tenant", "acme", "--limit", "1", "--cursor", "9",
    )  # fmt: skip

    assert result.exit_code == 0
    assert "line 3" in result.stdout
    assert '{"state": "stopping"}' in result.stdout
    assert "--cursor 7" in result.stderr
    assert dict(server.requests[-1].url.params) == {
        "action": "service.stop", "actor": "k", "object_kind": "service", "object_id": "5" * 32, "from": "2026-11-20",
        "to": "2026-11-21", "tenant_id": "acme", "limit": "1", "cursor": "9",
    }  # fmt: skip


def test_json_prints_the_page_as_it_is(penstock, server):
    server.answers["GET", f"{BASE}/audit"] = (200, {"records": [RECORD]})

    assert json.loads(penstock("audit", "list", "--json").stdout) == {"records": [RECORD]}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_goes_to_stdout_or_into_a_file_byte_by_byte(penstock, server, tmp_path, form):
    server.answers["GET", f"{BASE}/audit/export"] = (200, "first\nsecond\n")

    shown = penstock("audit", "export", "--format", form, "--from", "2026-11-20")
    kept = penstock("audit", "export", "--format", form, "-o", str(tmp_path / "out"))

    assert (shown.stdout, kept.stdout) == ("first\nsecond\n", "")
    assert (tmp_path / "out").read_text() == "first\nsecond\n"
    assert dict(server.requests[0].url.params) == {"format": form, "from": "2026-11-20"}


def test_a_refused_export_is_told_and_leaves_no_file(penstock, server, tmp_path):
    body = {"code": "role_too_low", "message": "This needs the role admin.", "details": {}}
    server.answers["GET", f"{BASE}/audit/export"] = (403, body)

    result = penstock("audit", "export", "-o", str(tmp_path / "out"))

    assert result.exit_code == 1
    assert "This needs the role admin. (role_too_low)" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_sound_record_ends_with_0_and_shows_its_head(penstock, server):
    server.answers["GET", f"{BASE}/audit/verify"] = (200, {"is_sound": True, "records": 7, "head": "a" * 64})

    result = penstock("audit", "verify")

    assert result.exit_code == 0
    assert "a" * 64 in result.stdout


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_broken_record_ends_with_1_and_says_where(penstock, server, arguments):
    broken = {"seq": 5, "message": "Record 5 is missing."}
    body = {"is_sound": False, "records": 4, "head": "a" * 64, "broken": broken}
    server.answers["GET", f"{BASE}/audit/verify"] = (200, body)

    result = penstock("audit", "verify", *arguments)

    assert result.exit_code == 1
    assert "Record 5 is missing." in result.stdout + result.stderr


def test_nobody_at_the_other_end_is_told_for_an_export_too(penstock, server):
    server.is_away = True

    result = penstock("audit", "export")

    assert result.exit_code == 1
    assert "No Penstock answers" in result.stderr
