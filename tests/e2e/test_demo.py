"""The first command of the README, and the walk with curl, as a person runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.launcher.running import Up

ROOT = Path(__file__).parents[2]
PENSTOCK = (sys.executable, "-m", "api.cli.main")
LIMIT_S = 150


def environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {**kept, **more}


def penstock(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PENSTOCK, *arguments], cwd=ROOT, env=environ(**more), capture_output=True, text=True, timeout=LIMIT_S
    )


def processes_of(data_dir: Path) -> list[int]:
    """Every process that was started for this data folder and still lives."""
    mark = f"PENSTOCK_DATA_DIR={data_dir}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes() + b"\0":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running system."""
    system = Up(tmp_path_factory.mktemp("up"), module="workers.launch")
    try:
        yield system.ready().told["urls"]["api"]
    finally:
        system.end()


@pytest.mark.timeout(2 * LIMIT_S)
def test_the_demo_classifies_images_it_was_not_trained_on_and_leaves_nothing(tmp_path):
    data_dir = tmp_path / "demo"

    done = penstock("demo", "--json", "--data-dir", str(data_dir))

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["accuracy"] > 0.95
    assert shown["jobs"] == 450
    assert shown["max_batch"] > 1
    assert shown["jobs_per_s"] > 0
    assert 0 < shown["p50_ms"] <= shown["p95_ms"]
    assert processes_of(data_dir) == []


@pytest.mark.timeout(2 * LIMIT_S)
def test_ctrl_c_in_the_middle_of_the_demo_stops_everything(tmp_path):
    data_dir = tmp_path / "demo"
    with (tmp_path / "demo.log").open("wb") as log:
        child = subprocess.Popen(
            [*PENSTOCK, "demo", "--data-dir", str(data_dir)], cwd=ROOT, env=environ(), stdout=log, stderr=log
        )
    until = time.monotonic() + 60
    while len(processes_of(data_dir)) < 4 and time.monotonic() < until:
        time.sleep(0.1)
    started = len(processes_of(data_dir))

    child.send_signal(signal.SIGINT)

    assert child.wait(timeout=30) == 130
    assert started >= 4
    assert processes_of(data_dir) == []


@pytest.mark.timeout(2 * LIMIT_S)
def test_every_answer_of_the_walk_with_curl_is_as_the_readme_says(up):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    done = subprocess.run(
        ["sh", str(ROOT / "examples" / "curl.sh"), up], capture_output=True, text=True, timeout=LIMIT_S
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert '"label":[1]' in done.stdout.replace(" ", "")


@pytest.mark.timeout(2 * LIMIT_S)
def test_the_command_line_serves_a_model_from_file_to_answer(up, tmp_path):
    model = str(ROOT / "examples" / "digits" / "model.onnx")
    penstock("model", "register", model, "--name", "raw", "--version", "1.0.0", "--upload", PENSTOCK_URL=up)

    created = penstock("service", "create", "raw", "--name", "reader", "--start", "--json", PENSTOCK_URL=up)
    done = penstock(
        "job", "submit", "reader", "--input", json.dumps({"input": [[0.0] * 64]}), "--wait", "--json", PENSTOCK_URL=up
    )
    refused = penstock("job", "submit", "reader", "--input", '{"input": [[0.0]]}', "--json", PENSTOCK_URL=up)

    assert json.loads(created.stdout)["status"] == "running", created.stderr
    assert len(json.loads(done.stdout)["result"]["probabilities"][0]) == 10, done.stderr
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (1, "invalid_tensor")
