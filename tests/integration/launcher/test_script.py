"""The script at the root: when it makes an environment, and when it does not. A stand-in for uv counts and makes."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.launcher.running import ROOT, until

UV = """#!/bin/sh
echo "$@" >>"$UV_CALLS"
while [ -e "${UV_HOLD:-/nonexistent}" ]; do sleep 0.05; done
[ -z "${UV_FAILS:-}" ] || { echo "no such package anywhere"; exit 1; }
venv=$(dirname "$(dirname "$4")")
printf '#!/bin/sh\\necho "ran $* with ${PENSTOCK_PYTHON:-nothing}"\\n' >"$venv/bin/penstock"
chmod +x "$venv/bin/penstock"
"""


class Checkout:
    """A copy of the script with a list of packages, and a folder of tools that stands first in PATH."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my checkout"
        (self.root / "requirements").mkdir(parents=True)
        shutil.copy(ROOT / "penstock", self.root)
        (self.root / "pyproject.toml").write_text('[project]\nname = "penstock"\n[tool.x]\n')
        for name in ("cpu", "gpu", "dev"):
            (self.root / "requirements" / f"{name}.txt").write_text(f"{name}==1\n")
        tools = folder / "tools"
        tools.mkdir()
        (tools / "uv").write_text(UV)
        (tools / "uv").chmod(0o755)
        self.calls_file = folder / "calls"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environ = clean | {"PATH": f"{tools}:{os.environ['PATH']}", "UV_CALLS": str(self.calls_file)}

    def start(self, *arguments: str, script: Path | None = None, cwd: Path = Path("/"), **environ: str):
        return subprocess.Popen(
            [str(script or self.root / "penstock"), *arguments],
            cwd=cwd,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **how) -> tuple[int, str, str]:
        with self.start(*arguments, **how) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err

    def calls(self) -> int:
        return len(self.calls_file.read_text().splitlines()) if self.calls_file.exists() else 0


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_the_first_use_makes_the_environment_and_the_next_ones_only_run_the_command(checkout):
    first = checkout.run("status", "--json")
    second = checkout.run("up", "--port", "0")

    assert first[:2] == (0, "ran status --json with nothing\n")
    assert "first use: making" in first[2]
    assert "set up in" in first[2]
    assert second == (0, "ran up --port 0 with nothing\n", "")
    assert checkout.calls() == 1


def test_it_works_from_anywhere_through_links_and_keeps_its_own_variables_to_itself(checkout, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "first").symlink_to("my checkout/penstock")
    (tmp_path / "bin" / "pk").symlink_to("../first")

    code, out, _ = checkout.run("x", script=Path("./bin/pk"), cwd=tmp_path, PENSTOCK_PYTHON="python3")

    assert (code, out) == (0, "ran x with nothing\n")
    assert (checkout.root / ".venv").is_dir()


def test_a_changed_list_is_installed_and_a_changed_tool_setting_is_not(checkout):
    checkout.run("x")
    (checkout.root / "pyproject.toml").write_text('[project]\nname = "penstock"\n[tool.x]\na = 1\n')
    checkout.run("x")
    unchanged = checkout.calls()
    (checkout.root / "requirements" / "cpu.txt").write_text("cpu==2\n")
    checkout.run("x")

    assert (unchanged, checkout.calls()) == (1, 2)


def test_the_gpu_choice_is_remembered(checkout):
    checkout.run("x", PENSTOCK_EXTRA="gpu")
    checkout.run("x")
    wrong = checkout.run("x", PENSTOCK_EXTRA="tpu")

    assert checkout.calls() == 1
    assert (checkout.root / ".venv" / "penstock.list").read_text() == "gpu==1\n"
    assert wrong == (1, "", "penstock: PENSTOCK_EXTRA is 'tpu'; it can be cpu or gpu.\n")


def test_another_runtime_gets_an_environment_of_its_own_making(checkout):
    checkout.run("x")
    _, _, said = checkout.run("x", PENSTOCK_EXTRA="gpu")

    assert "first use: making" in said
    assert checkout.calls() == 2


def test_tests_on_a_gpu_get_one_runtime_only(checkout):
    (checkout.root / "requirements" / "dev.txt").write_text("dev==1\nonnxruntime==1\n")
    (checkout.root / "requirements" / "gpu.txt").write_text("onnxruntime-gpu==1\n")
    checkout.run("x", PENSTOCK_EXTRA="gpu")
    checkout.run("test")

    assert (checkout.root / ".venv" / "penstock.list").read_text() == "dev==1\nonnxruntime-gpu==1\n"


def test_an_environment_for_tests_serves_for_use_too(checkout):
    checkout.run("test")
    code, out, said = checkout.run("x")

    assert (code, out, said) == (0, "ran x with nothing\n", "")
    assert checkout.calls() == 1


def test_two_first_uses_at_once_make_one_environment(checkout, tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    with checkout.start("a", UV_HOLD=str(hold)) as one:
        until(lambda: checkout.calls() == 1, 20)
        with checkout.start("b") as two:
            waits = two.stderr.readline()
            hold.unlink()
            said = two.communicate(timeout=60)
        one.communicate(timeout=60)

    assert said[0] == "ran b with nothing\n"
    assert "another set-up is at work here" in waits
    assert checkout.calls() == 1


def test_an_interrupted_set_up_is_begun_again(checkout, tmp_path):
    (tmp_path / "hold").touch()
    with checkout.start("a", UV_HOLD=str(tmp_path / "hold")) as cut:
        until(lambda: checkout.calls() == 1, 20)
        os.killpg(cut.pid, signal.SIGKILL)
        cut.communicate(timeout=10)
    code, out, said = checkout.run("b")

    assert (code, out) == (0, "ran b with nothing\n")
    assert "interrupted" in said


def test_an_environment_that_moved_is_made_again(checkout, tmp_path):
    checkout.run("a")
    checkout.root = checkout.root.rename(tmp_path / "elsewhere")

    code, _, said = checkout.run("b")

    assert code == 0
    assert "first use: making" in said


def test_what_the_installers_said_is_shown_when_they_fail(checkout):
    (checkout.root / "requirements" / "cpu.txt").write_text("this-is-not-a-package==999\n")

    code, out, said = checkout.run("a", UV_FAILS="1", PIP_INDEX_URL="http://127.0.0.1:9", PIP_RETRIES="0")

    assert (code, out) == (1, "")
    assert "trying pip" in said
    assert (checkout.root / ".venv" / "penstock.log").read_text().splitlines()[-1] in said
    assert "could not be installed" in said


@pytest.mark.parametrize("python", ["/bin/false", "/nonexistent/python"])
def test_a_python_that_will_not_do_is_named(checkout, python):
    code, _, said = checkout.run("a", PENSTOCK_PYTHON=python)

    assert code == 1
    assert said.startswith(f"penstock: PENSTOCK_PYTHON={python} is not a Python 3.11 or newer")


def test_a_made_environment_costs_next_to_nothing(checkout):
    checkout.run("a")

    began = time.monotonic()
    for _ in range(5):
        checkout.run("a")

    assert (time.monotonic() - began) / 5 < 0.5
