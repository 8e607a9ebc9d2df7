"""The unmodified NVML binding on a library of our own: cards, missing symbols, a missing library, lost cards, MIG."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inference.resources import probe_replay

SOURCE = Path(__file__).with_name("nvml_stub.c")
ROOT = Path(__file__).parents[2]
READ = """
import json, os, sys, time
import msgspec
from inference.resources.probe_nvml import NvmlProbe

probe = NvmlProbe()
for state in sys.argv[1:]:
    with open(os.environ["NVML_STUB"], "w") as file:
        file.write(state)
    reading = probe.read()
    ends = time.monotonic() + 5
    while "xid" in state and not reading.devices[0].figures.xids and time.monotonic() < ends:
        time.sleep(0.01)
        reading = probe.read()
    print(json.dumps(msgspec.to_builtins(reading.devices)))
probe.close()
"""


LOAD = """
import os, sys
from inference.resources import footprint

def put(state):
    with open(os.environ["NVML_STUB"], "w") as file:
        file.write(state)

before, after, is_outermost = sys.argv[1:]
footprint._is_outermost = lambda: is_outermost == "yes"
put(before)
seen = footprint.Footprint("GPU-0")
put(after)
taken = seen.taken("cuda")
print(taken and taken.bytes, taken and taken.basis)
seen.close()
"""


@pytest.fixture(scope="module")
def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("there is no C compiler here")
    return found


@pytest.fixture(scope="module")
def library(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(compiler, tmp_path_factory.mktemp("nvml"))


def build(compiler: str, folder: Path, *flags: str) -> Path:
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-Wall", "-shared", "-fPIC", *flags, "-o", target, SOURCE], check=True)
    return folder


def read(folder: Path, *states: str) -> list[list[dict]]:
    """The devices that a fresh process sees, for each state that the library is put into."""
    environ = {**os.environ, "LD_LIBRARY_PATH": str(folder), "NVML_STUB": str(folder / "state")}
    done = subprocess.run(
        [sys.executable, "-c", READ, *states], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def loaded(folder: Path, before: str, after: str, *, is_outermost: bool) -> str:
    """What a fresh process says that its engine took of card 0."""
    environ = {**os.environ, "LD_LIBRARY_PATH": str(folder), "NVML_STUB": str(folder / "state")}
    command = [sys.executable, "-c", LOAD, before, after, "yes" if is_outermost else "no"]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_each_card_is_read_with_all_its_figures(library: Path):
    ((first, second),) = read(library, "cards=2")

    assert (first["uuid"], first["name"], first["memory_bytes"]) == ("GPU-0", "NVIDIA Stub", 1000)
    assert (first["source"], first["state"], second["index"]) == ("nvml", "ok", 1)
    assert first["figures"] == {
        "memory_used_bytes": 350,
        "memory_free_bytes": 600,
        "memory_reserved_bytes": 50,
        "utilisation_percent": 37.0,
        "temperature_c": 41.0,
        "power_w": 71.5,
        "throttle": ["sw_power_cap", "hw_thermal_slowdown"],
        "ecc_corrected": 7,
        "ecc_uncorrected": 2,
        "xid": None,
        "xid_at": None,
        "xids": 0,
    }


def test_an_old_driver_says_less_and_breaks_nothing(compiler: str, tmp_path: Path):
    ((card,),) = read(build(compiler, tmp_path, "-DOLD"), "cards=1 mig=0")

    figures = card["figures"]
    assert (figures["memory_used_bytes"], figures["memory_reserved_bytes"]) == (400, None)
    assert (figures["throttle"], figures["utilisation_percent"]) == ([], 37.0)


def test_a_lost_card_is_kept_as_lost_and_the_others_go_on(library: Path):
    healthy, lost, silent, back = read(library, "cards=2", "cards=2 lost=1", "cards=2 silent=1", "cards=2")

    assert [card["state"] for card in healthy] == [card["state"] for card in back] == ["ok", "ok"]
    for found in (lost, silent):
        assert [(card["uuid"], card["state"]) for card in found] == [("GPU-0", "ok"), ("GPU-1", "lost")]
        assert found[1]["memory_bytes"] == 1000
        assert found[1]["figures"]["memory_used_bytes"] is None


def test_a_card_that_is_lost_from_the_start_is_told_too(library: Path):
    ((card,),) = read(library, "cards=1 lost=0")

    assert (card["uuid"], card["state"]) == ("GPU-0", "lost")


def test_a_card_that_is_no_longer_listed_is_not_told(library: Path):
    before, after = read(library, "cards=2", "cards=1")

    assert (len(before), len(after)) == (2, 1)


def test_a_card_that_is_cut_up_comes_with_its_parts(library: Path):
    (devices,) = read(library, "cards=2 mig=1")

    assert [(one["uuid"], one["parent_uuid"]) for one in devices] == [
        ("GPU-0", None), ("GPU-1", None), ("MIG-1-0", "GPU-1"), ("MIG-1-1", "GPU-1"),
    ]  # fmt: skip
    part = devices[2]
    assert (part["name"], part["memory_bytes"], part["index"]) == ("NVIDIA Stub MIG 1g.5gb", 250, 0)
    assert (part["figures"]["memory_used_bytes"], part["figures"]["utilisation_percent"]) == (100, None)


def test_an_error_report_of_the_driver_is_counted_with_its_code(library: Path):
    ((card,),) = read(library, "cards=1 xid=79")

    assert (card["figures"]["xid"], card["figures"]["xids"]) == (79, 1)
    assert card["figures"]["xid_at"] > 1e9


def test_without_a_driver_or_its_library_there_are_no_devices(compiler: str, tmp_path: Path):
    (tmp_path / "none").mkdir()
    (tmp_path / "unloaded").mkdir()

    assert read(build(compiler, tmp_path / "unloaded", "-DNO_DRIVER"), "cards=1") == [[]]
    if shutil.which("nvidia-smi") is None:
        assert read(tmp_path / "none", "cards=1") == [[]]


@pytest.mark.parametrize(
    ("after", "is_outermost", "told"),
    [
        ("cards=1 used=9000000", False, "8000000 measured by nvml: growth of the card's use at load"),
        ("cards=1 used=9000000 own=7000000", True, "7000000 measured by nvml: what the process has of the card"),
        ("cards=1 used=9000000 own=7000000", False, "8000000 measured by nvml: growth of the card's use at load"),
        ("cards=1 used=1000000", False, "None None"),
        ("cards=1 used=9000000 lost=0", True, "None None"),
    ],
)
def test_what_an_engine_took_of_its_card_is_measured(library: Path, after: str, is_outermost: bool, told: str):
    assert loaded(library, "cards=1 used=1000000", after, is_outermost=is_outermost).startswith(told)


def test_what_is_recorded_from_a_card_can_be_played(library: Path, tmp_path: Path):
    target = tmp_path / "card.jsonl"
    (library / "state").write_text("cards=1")
    environ = {**os.environ, "LD_LIBRARY_PATH": str(library), "NVML_STUB": str(library / "state")}
    command = [sys.executable, "-m", "api.cli.main", "gpus", "--record", str(target), "--for", "0.3", "--every", "0.1"]

    done = subprocess.run([*command, "--json"], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    frames = probe_replay.read(target)
    assert json.loads(done.stdout) == {"file": str(target), "readings": len(frames), "devices": 1}
    assert frames[0].devices[0].figures.power_w == 71.5
