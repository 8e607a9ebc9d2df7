"""`penstock backup` and `penstock restore` on a real database, where nothing runs."""

import json
import os

import pytest
from click.testing import CliRunner

from api.cli.main import cli


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


def test_a_file_is_tried_first_and_then_restored(penstock, tmp_path):
    file = tmp_path / "config.json"
    penstock("tenant", "create", "acme", "--limits", '{"replicas": 3}')
    penstock("backup", "--out", str(file))
    penstock("tenant", "change", "acme", "--limits", '{"replicas": 9}')

    tried = penstock("restore", str(file))
    still = json.loads(penstock("tenant", "show", "acme", "--json").stdout)
    done = json.loads(penstock("restore", str(file), "--apply", "--json").stdout)
    after = json.loads(penstock("tenant", "show", "acme", "--json").stdout)

    assert "limits.replicas" in tried.stdout
    assert "add --apply" in tried.stderr
    assert (still["limits"]["replicas"], after["limits"]["replicas"]) == (9, 3)
    assert done["counts"]["change"] == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(penstock("backups", "list", "--json").stdout)["backups"]) == 2


def test_what_is_no_archive_is_refused_in_one_sentence(penstock, tmp_path):
    (tmp_path / "foreign.json").write_text('{"format": "tar"}')

    foreign = penstock("restore", str(tmp_path / "foreign.json"), expect=1)
    unknown = penstock("restore", "0" * 32, expect=1)

    assert "is no archive of Penstock" in foreign.stderr
    assert "There is no backup" in unknown.stderr
