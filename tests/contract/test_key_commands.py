"""`penstock key` and `penstock tenant` on a real database, where nothing runs."""

import json
import os

import pytest
from click.testing import CliRunner

from api.cli.main import cli
from inference import wiring
from inference.access.token import id_of
from inference.settings import load


@pytest.fixture
def penstock(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments, expect=0):
        result = CliRunner().invoke(cli, arguments, obj={})
        assert result.exit_code == expect, result.output
        return result

    return run


@pytest.fixture
def door(tmp_path):
    """Opens as the system would."""
    core = wiring.build(load({"PENSTOCK_DATA_DIR": str(tmp_path / "data"), "PENSTOCK_ACCESS__REFRESH_S": "0"}))
    yield lambda text: core.door.enter(text, address="127.0.0.1", host="localhost")
    core.close()


def test_the_first_key_is_made_on_a_fresh_folder_and_its_text_is_all_of_stdout(penstock, request):
    made = penstock("key", "create")
    second = penstock("key", "create", "--role", "viewer")

    text = made.stdout.removesuffix("\n")
    assert id_of(text) is not None
    assert "first key" in made.stderr
    assert text not in made.stderr
    assert "first key" not in second.stderr
    holder = request.getfixturevalue("door")(text)
    assert (holder.role, holder.reach.name) == ("admin", "SYSTEM")


def test_json_is_one_object_on_stdout(penstock):
    made = json.loads(penstock("key", "create", "--name", "ci", "--expires-in", "90d", "--json").stdout)

    assert made["name"] == "ci"
    assert made["is_system"] is True
    assert id_of(made["key"]) == made["key_id"]
    assert made["expires_at"] > made["created_at"]


def test_keys_are_listed_shown_rotated_and_revoked(penstock):
    text = penstock("key", "create", "--role", "submitter", "--workspace", "red").stdout.strip()
    key_id = id_of(text)

    listed = penstock("key", "list").stdout
    rotated = penstock("key", "rotate", key_id, "--overlap", "0")
    revoked = json.loads(penstock("key", "revoke", key_id, "--json").stdout)
    after = penstock("key", "list").stdout
    again = penstock("key", "rotate", key_id, expect=1)

    assert key_id in listed
    assert "workspace red" in listed
    assert text not in listed
    assert id_of(rotated.stdout.strip()) == key_id
    assert rotated.stdout.strip() != text
    assert revoked["revoked_at"]
    assert "revoked" in after
    assert "wrong_state" in again.stderr


def test_a_tenant_is_made_used_disabled_and_deleted(penstock, request):
    penstock("tenant", "create", "acme", "--name", "Acme", "--limits", '{"jobs_waiting": 5}')
    text = penstock("key", "create", "--tenant", "acme").stdout.strip()
    door = request.getfixturevalue("door")
    inside = door(text)

    in_default, in_acme = penstock("key", "list").stdout, penstock("key", "list", "--tenant", "acme").stdout
    disabled = json.loads(penstock("tenant", "disable", "acme", "--json").stdout)
    enabled = json.loads(penstock("tenant", "change", "acme", "--enable", "--name", "A", "--json").stdout)
    shown = penstock("tenant", "show", "acme").stdout
    penstock("tenant", "delete", "acme")
    left = json.loads(penstock("tenant", "list", "--json").stdout)["tenants"]

    assert (inside.scope.tenant_id, inside.reach.name, inside.tenant_limits.jobs_waiting) == ("acme", "TENANT", 5)
    assert id_of(text) not in in_default
    assert id_of(text) in in_acme
    assert (disabled["disabled"], enabled["disabled"], enabled["name"]) == (True, False, "A")
    assert "jobs_waiting" in shown
    assert [tenant["tenant_id"] for tenant in left] == ["default"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("key", "show", "0" * 12), 1, "key_not_found"),
        (("key", "create", "--service", "none"), 1, "service_not_found"),
        (("key", "create", "--tenant", "none"), 1, "tenant_not_found"),
        (("key", "create", "--expires-in", "soon"), 2, "90d"),
        (("key", "create", "--role", "root"), 2, "root"),
        (("tenant", "create", "Big!"), 1, "invalid_field"),
        (("tenant", "create", "a", "--limits", '{"speed": 1}'), 1, "invalid_field"),
        (("tenant", "disable", "default"), 1, "wrong_state"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(penstock, arguments, code, said):
    result = CliRunner().invoke(cli, arguments, obj={}, standalone_mode=True)

    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


def test_a_database_of_an_older_schema_is_left_alone(penstock, tmp_path):
    from inference.settings import StoreSettings
    from inference.store import migrate
    from inference.store.database import Database

    (tmp_path / "data").mkdir()
    database = Database(f"sqlite:///{tmp_path}/data/penstock.db", StoreSettings())
    migrate.upgrade(database, "0001")
    database.close()

    result = penstock("key", "create", expect=1)

    assert "penstock migrate" in result.stderr


def test_bad_settings_are_told(penstock, monkeypatch):
    monkeypatch.setenv("PENSTOCK_JOBS__MAX_ATTEMPT", "1")

    assert "known here" in penstock("key", "list", expect=1).stderr
