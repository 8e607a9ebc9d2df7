"""Rotation of real log files under real processes that write to them all the while."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.settings import LogsSettings
from tests.services import die_with_tests, wait_for
from workers.launching import rotate

LIMITS = LogsSettings(file_bytes=65_536, files=3)
TEXT = "x" * 100
OURS = """
import logging, sys, time
import structlog
from inference.settings import Settings
from inference.telemetry import log
log.LOOK_S = 0.01
log.configure(Settings(), "test")
for number in range(int(sys.argv[1])):
    structlog.get_logger().info("e", number=number, text="x" * 100)
    if number % 20 == 0:
        time.sleep(0.001)
print("the end", flush=True)
"""


def unpacked(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def numbers(folder: Path) -> list[int]:
    """Of all the lines in all the files of the folder, in any order."""
    texts = [path.read_text() for path in folder.glob("*.log*") if path.suffix != ".gz"]
    texts += [unpacked(path) for path in folder.glob("*.gz")]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("{")]
    return sorted(int(line.partition('"number": ')[2].split(",")[0]) for line in lines)


def test_no_line_is_lost_and_none_is_twice_while_its_writer_goes_on(tmp_path):
    log, count = tmp_path / "api.log", 20_000
    limits = LogsSettings(file_bytes=65_536, files=1000)
    with log.open("ab") as file:
        writer = subprocess.Popen(
            [sys.executable, "-c", OURS, str(count)], stdout=file, stderr=file, preexec_fn=die_with_tests
        )

    rotations = 0
    while writer.poll() is None:
        rotations += rotate.rotate(log, limits, is_followed=True)
        rotate.compress(tmp_path)

    assert writer.returncode == 0, log.read_text()[-2000:]
    assert rotations > 5
    assert numbers(tmp_path) == list(range(count))
    # What prints goes where the last line went.
    assert "the end" in log.read_text() + (tmp_path / "api.log.1").read_text()


def test_files_get_older_and_the_oldest_goes(tmp_path):
    log = tmp_path / "api.log"

    for number in range(6):
        log.write_text(f"{number}\n" + TEXT * 1000)
        assert rotate.rotate(log, LIMITS, is_followed=True)
        rotate.compress(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.log", "api.log.1", "api.log.2.gz", "api.log.3.gz"]
    assert log.read_text() == ""
    assert (tmp_path / "api.log.1").read_text()[0] == "5"
    assert unpacked(tmp_path / "api.log.3.gz")[0] == "3"
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir() if path.suffix == ".gz")


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_short_file_and_a_missing_one_are_left_alone(tmp_path, is_followed):
    log = tmp_path / "api.log"
    log.write_text("short")

    assert not rotate.rotate(log, LIMITS, is_followed=is_followed)
    assert not rotate.rotate(tmp_path / "none.log", LIMITS, is_followed=is_followed)
    assert [path.name for path in tmp_path.iterdir()] == ["api.log"]


def test_a_foreign_program_keeps_its_file(tmp_path):
    log = tmp_path / "front.log"
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, b"a" * 70_000)

    rotate.rotate(log, LIMITS, is_followed=False)
    os.write(handle, b"after")
    os.close(handle)

    assert (log.read_text(), (tmp_path / "front.log.1").stat().st_size) == ("after", 70_000)


def test_a_sweep_compresses_in_a_process_beside(tmp_path):
    for name in ("worker-a.log", "worker-a.log.1", "other.log"):
        (tmp_path / name).write_text(TEXT * 1000)
    sweep = rotate.Sweep(tmp_path, "worker-*.log", LIMITS)

    sweep.turn()

    def is_packed() -> bool:
        sweep.turn()
        return (tmp_path / "worker-a.log.2.gz").exists() and sweep._packing is None

    wait_for(is_packed, timeout_s=20, what="compressed")
    assert {path.name for path in tmp_path.iterdir()} == {
        "worker-a.log", "worker-a.log.1", "worker-a.log.2.gz", "other.log"
    }  # fmt: skip
