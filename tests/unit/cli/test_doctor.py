"""What `doctor` makes of what it sees."""

import json
import os

import pytest

from api.cli import checks_engine, checks_host, checks_parts, doctor
from api.cli.finding import FAIL, OK, WARN, Finding
from inference.settings import load

GPU_ON_CPU = {"version": "1.31.1", "real": "CPUExecutionProvider"}
GPU_ON_CUDA = {"version": "1.31.1", "real": "CUDAExecutionProvider"}


@pytest.mark.parametrize(
    ("installed", "told", "gpu_count", "status", "said"),
    [
        (["onnxruntime"], GPU_ON_CPU, 0, OK, "runs on CPU"),
        (["onnxruntime-gpu"], GPU_ON_CUDA, 1, OK, "runs on CUDA"),
        (["onnxruntime"], GPU_ON_CPU, 2, WARN, "though 2 GPU"),
        (["onnxruntime-gpu"], GPU_ON_CPU, 0, WARN, "no GPU is seen"),
        (["onnxruntime-gpu"], GPU_ON_CPU, 1, WARN, "CUDA or cuDNN cannot be loaded"),
        (["onnxruntime"], {"why": "Illegal instruction"}, 0, FAIL, "Illegal instruction"),
        (["onnxruntime", "onnxruntime-gpu"], {}, 0, FAIL, "overwrite each other"),
        ([], {}, 0, FAIL, "not installed"),
    ],
)
def test_the_engine_is_judged_by_what_really_ran(installed, told, gpu_count, status, said):
    found = checks_engine.judge_engine(installed, told, gpu_count=gpu_count)

    assert found.status == status
    assert said in found.message
    assert bool(found.fix) == (status != OK)


@pytest.mark.parametrize(
    ("version", "platform", "status"),
    [((3, 11, 0), "linux", OK), ((3, 13, 1), "darwin", WARN), ((3, 10, 9), "linux", FAIL)],
)
def test_python_must_be_3_11_and_up_needs_linux(version, platform, status):
    assert checks_host.python(version, platform).status == status


@pytest.mark.parametrize(("free_bytes", "status"), [(100 << 30, OK), (1 << 30, WARN), (1 << 20, FAIL)])
def test_disk_space_is_judged(tmp_path, free_bytes, status):
    assert checks_host.judge_disk(free_bytes, tmp_path).status == status


@pytest.mark.parametrize(
    ("soft", "hard", "status"), [(4096, 4096, OK), (-1, -1, OK), (1024, 65536, WARN), (256, 256, WARN)]
)
def test_open_files_are_judged(soft, hard, status):
    assert checks_host.judge_open_files(soft, hard).status == status


def test_a_clock_before_the_installation_is_wrong():
    assert checks_host.judge_clock(1_000.0, 2_000_000.0).status == FAIL
    assert checks_host.judge_clock(2_000_001.0, 2_000_000.0).status == OK


def test_a_folder_that_is_not_there_yet_is_judged_by_its_parent(tmp_path):
    assert checks_host.folder(tmp_path / "a" / "b").status == OK
    assert checks_host.folder(tmp_path).status == OK


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")

    found = checks_host.folder(tmp_path / "file" / "data")

    assert found.status == FAIL
    assert "--data-dir" in found.fix


def test_missing_shared_memory_fails(tmp_path):
    assert checks_host.shared_memory(tmp_path / "shm").status == FAIL


def test_a_sqlite_file_is_made_later_or_read_now(tmp_path):
    settings = load({"PENSTOCK_DATA_DIR": str(tmp_path)})
    assert "is made at the first start" in checks_parts.sql(settings).message

    (tmp_path / "penstock.db").write_bytes(b"this is no database, however long it goes on" * 100)
    assert checks_parts.sql(settings).status == FAIL


def test_a_folder_without_an_up_has_no_system_to_check(tmp_path):
    assert checks_parts.system(tmp_path).status == OK


def test_a_url_is_shown_without_its_password():
    assert checks_parts.shown_url("redis://:secret@cache:6379/0") == "redis://cache:6379/0"
    assert checks_parts.shown_url("postgresql://u:a/secret@db/penstock?password=secret") == "postgresql://db/penstock"
    assert "secret" not in checks_parts.shown_url("postgres//penstock:secret@db/penstock")


def test_a_misspelt_setting_is_a_finding_not_a_traceback():
    findings = list(doctor.examine({"PENSTOCK_JOBS__MAX_ATTEMPT": "3"}))

    assert findings[-1].status == FAIL
    assert "PENSTOCK_JOBS__MAX_ATTEMPT" in findings[-1].message


def test_a_check_that_breaks_does_not_hide_the_others(monkeypatch, tmp_path):
    def broken() -> Finding:
        raise RuntimeError("no such thing")

    for room, name in (
        (checks_host, "open_files"),
        (checks_parts, "front"),
        (checks_engine, "engine"),
        (checks_engine, "gpus"),
    ):
        monkeypatch.setattr(room, name, broken)
    monkeypatch.setattr(checks_parts, "redis", lambda _: Finding(name="redis", status=OK, message=""))
    monkeypatch.setattr(checks_host, "port", lambda *_: Finding(name="port", status=OK, message=""))

    findings = {finding.name: finding for finding in doctor.examine({"PENSTOCK_DATA_DIR": str(tmp_path)})}

    assert "RuntimeError: no such thing" in findings["engine"].message
    assert findings["sql"].status == OK


@pytest.mark.parametrize(("status", "code"), [(OK, 0), (WARN, 0), (FAIL, 1)])
def test_the_exit_code_is_1_only_when_something_fails(monkeypatch, capsys, status, code):
    found = Finding(name="disk", status=status, message="a [bracket] stays", fix="do this")
    monkeypatch.setattr(doctor, "examine", lambda _: iter([found]))

    assert doctor.run(data_dir=None, is_json=True, environ={}) == code
    assert json.loads(capsys.readouterr().out)["checks"][0]["fix"] == "do this"

    assert doctor.run(data_dir=None, is_json=False, environ={}) == code
    assert "a [bracket] stays" in capsys.readouterr().out


def test_the_url_of_the_client_does_not_disturb_the_settings(monkeypatch):
    seen = {}

    def examine(environ):
        seen.update(environ)
        return iter(())

    monkeypatch.setattr(doctor, "examine", examine)

    doctor.run(data_dir=os.curdir, is_json=False, environ={"PENSTOCK_URL": "http://x"})

    assert seen == {"PENSTOCK_DATA_DIR": os.curdir}
