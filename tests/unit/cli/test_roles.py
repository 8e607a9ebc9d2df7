"""Commands that become another process: what they become."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def become(monkeypatch, penstock):
    """Runs a command that should replace the process; what it would have become."""
    seen = {}

    def execve(path, argv, environ):
        seen.update(path=path, argv=argv[1:], environ=environ)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)

    def run(*arguments):
        penstock(*arguments)
        return seen

    return run


@pytest.mark.parametrize(
    ("arguments", "argv"),
    [
        (("up",), ["-m", "workers.launch", "up"]),
        (
            ("up", "--host", "0.0.0.0", "--port", "0", "--data-dir", "/d", "--flower"),
            ["-m", "workers.launch", "up", "--host", "0.0.0.0", "--port", "0", "--data-dir", "/d", "--flower"],
        ),
        (("status", "--data-dir", "/d", "--json"), ["-m", "workers.launch", "status", "--data-dir", "/d", "--json"]),
        (("api", "--port", "9000"), ["-m", "workers.http_host", "--port", "9000"]),
        (("live", "--uds", "x.sock"), ["-m", "api.live.server", "--uds", "x.sock"]),
        (("node",), ["-m", "workers.node"]),
        (("worker",), ["-m", "workers.node"]),
        (("control",), ["-m", "workers.control"]),
        (("beat",), ["-m", "workers.beat"]),
        (("migrate",), ["-m", "workers.prepare"]),
    ],
)
def test_a_role_is_the_same_python_with_its_module(become, arguments, argv):
    seen = become(*arguments)

    assert seen["path"] == sys.executable
    assert seen["argv"] == argv


@pytest.mark.parametrize(("command", "role"), [("worker", "node"), ("beat", "beat"), ("api", "api")])
def test_a_role_finds_its_name_in_the_environment(become, command, role):
    assert become(command)["environ"]["PENSTOCK_ROLE"] == role


def test_processes_and_threads_of_the_api_become_settings(become):
    environ = become("api", "--workers", "3", "--threads", "5")["environ"]

    assert (environ["PENSTOCK_API__WORKERS"], environ["PENSTOCK_API__THREADS"]) == ("3", "5")


def test_the_url_of_the_client_does_not_reach_a_server(become, monkeypatch):
    monkeypatch.setenv("PENSTOCK_URL", "http://elsewhere:1")

    assert "PENSTOCK_URL" not in become("up")["environ"]


def test_a_role_leaves_no_core_dump():
    ask = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"

    done = subprocess.run(
        [sys.executable, "-c", f"from api.cli import roles; roles.become(['-c', {ask!r}])"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "(0, 0)"
