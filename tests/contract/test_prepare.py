"""`python -m workers.prepare`: the schema, the first keys, and what may not be reached by others."""

import stat
from pathlib import Path

import pytest

from inference import wiring
from inference.access import token
from inference.access.model import Reach, Role
from inference.errors import StoreUnavailable
from inference.settings import load
from workers import prepare


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PENSTOCK_DATA_DIR": str(tmp_path / "data")}


def keys_of(environ):
    core = wiring.build(load(environ))
    try:
        return [change.key for change in core.access.keys.changes(0).keys]
    finally:
        core.close()


def holder(environ, text):
    core = wiring.build(load(environ))
    try:
        return core.door.enter(text, address="127.0.0.1", host="localhost")
    finally:
        core.close()


def test_in_development_the_schema_is_made_and_no_key(environ):
    with pytest.raises(StoreUnavailable):
        keys_of(environ)

    assert prepare.main([], environ) == 0

    assert keys_of(environ) == []


def test_the_database_is_for_its_owner_alone_also_in_a_folder_that_others_may_read(environ, tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)

    assert prepare.main([], environ) == 0
    core = wiring.build(load(environ))
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").glob("penstock.db*")}
    core.close()

    assert {"penstock.db", "penstock.db-wal"} <= set(found)
    assert set(found.values()) == {0o600}


def test_in_production_the_first_key_lies_in_a_file_for_its_owner_alone(environ, tmp_path, capsys):
    environ["PENSTOCK_MODE"] = "production"

    codes = [prepare.main([], environ) for _ in range(2)]

    path = tmp_path / "data" / "admin.key"
    text = path.read_text().strip()
    said = capsys.readouterr()
    assert codes == [0, 0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path) in said.out
    assert said.out.count("admin key") == 1
    assert text not in said.out + said.err
    assert (holder(environ, text).role, holder(environ, text).reach) == (Role.ADMIN, Reach.SYSTEM)
    assert len(keys_of(environ)) == 1
    assert list((tmp_path / "data").glob("*.new")) == []


def test_a_text_chosen_beforehand_is_the_first_key_and_later_ones_are_not(environ, tmp_path, capsys):
    chosen, later = token.make().text, token.make().text

    first = prepare.main([], {**environ, "PENSTOCK_ACCESS__FIRST_KEY": chosen})
    second = prepare.main([], {**environ, "PENSTOCK_ACCESS__FIRST_KEY": later})

    assert (first, second) == (0, 0)
    assert [key.id for key in keys_of(environ)] == [token.id_of(chosen)]
    assert not (tmp_path / "data" / "admin.key").exists()
    assert chosen not in capsys.readouterr().out


def test_the_key_for_figures_is_there_and_leaves_the_system_open(environ):
    text = token.make().text
    environ["PENSTOCK_ACCESS__METRICS_KEY"] = text

    codes = [prepare.main([], environ) for _ in range(2)]

    core = wiring.build(load(environ))
    is_closed = core.door.is_closed()
    core.close()
    assert codes == [0, 0]
    assert not is_closed
    assert (holder(environ, text).role, holder(environ, text).reach) == (Role.VIEWER, Reach.SYSTEM)


@pytest.mark.parametrize("name", ["FIRST_KEY", "METRICS_KEY"])
def test_a_text_that_is_no_key_stops_the_start_and_is_not_repeated(environ, capsys, name):
    code = prepare.main([], {**environ, f"PENSTOCK_ACCESS__{name}": "hunter2"})

    said = capsys.readouterr().err
    assert code == 1
    assert "64 hex digits" in said
    assert "hunter2" not in said


def test_others_may_not_reach_a_system_without_a_key(environ, capsys):
    refused = prepare.main(["--public", "0.0.0.0"], environ)
    said = capsys.readouterr().err
    prepare.main([], {**environ, "PENSTOCK_ACCESS__FIRST_KEY": token.make().text})
    accepted = prepare.main(["--public", "0.0.0.0"], environ)

    assert refused == 2
    assert said == (
        "penstock: 0.0.0.0 can be reached from other machines and there is no key: make one with "
        "`penstock key create`, or bind 127.0.0.1.\n"
    )
    assert accepted == 0


def test_the_keys_of_settings_are_in_no_repr(environ):
    text = token.make().text
    settings = load({**environ, "PENSTOCK_ACCESS__FIRST_KEY": text, "PENSTOCK_ACCESS__METRICS_KEY": text})

    assert text not in repr(settings)
    assert settings.access.require_keys is False
    assert load({**environ, "PENSTOCK_MODE": "production"}).access.require_keys is True
