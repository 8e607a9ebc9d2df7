"""Which running Penstock a command finds."""

import json
import os
from pathlib import Path

import pytest

from api.cli import target


def write(folder: Path, told: object) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "up.json").write_text(json.dumps(told))


def test_the_option_wins(tmp_path):
    write(tmp_path, {"pid": os.getpid(), "urls": {"api": "http://127.0.0.1:9"}})

    assert target.find_url("http://elsewhere:1", tmp_path) == "http://elsewhere:1"


def test_an_address_without_a_scheme_is_http(tmp_path):
    assert target.find_url("gpu-box:8080", tmp_path) == "http://gpu-box:8080"


def test_a_running_up_is_found_by_its_data_folder(tmp_path):
    write(tmp_path, {"pid": os.getpid(), "urls": {"api": "http://127.0.0.1:9"}})

    assert target.find_url(None, tmp_path) == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "told",
    [{"pid": 2**22 + 1, "urls": {"api": "http://127.0.0.1:9"}}, {"urls": {}}, {"pid": "1"}, [], {"pid": os.getpid()}],
)
def test_what_a_dead_up_left_behind_is_not_believed(tmp_path, told):
    write(tmp_path, told)

    assert target.find_url(None, tmp_path) == target.DEFAULT_URL


def test_a_half_written_file_is_no_system(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "up.json").write_text('{"pid": ')

    assert target.running(tmp_path) is None


def test_the_data_folder_comes_from_the_option_then_the_environment():
    assert target.data_dir_of("/a", {"PENSTOCK_DATA_DIR": "/b"}) == Path("/a")
    assert target.data_dir_of(None, {"PENSTOCK_DATA_DIR": "/b"}) == Path("/b")
    assert target.data_dir_of(None, {}).name == ".penstock"
