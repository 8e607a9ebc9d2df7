"""`up` with every real part: what dies comes back, and what is ended is gone."""

import os
import signal
import time

import pytest

from tests.integration.launcher.running import Up, run_members, until

PARTS = ("front", "broker", "api", "live", "control", "node")


def start(folder) -> Up:
    system = Up(folder, module="workers.launch")
    try:
        return system.ready()
    except BaseException:
        system.end()
        raise


def is_ready(system: Up) -> bool:
    try:
        return system.ask("GET", "/readyz")[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("up")


def test_parts_come_back_the_launcher_takes_all_with_it_and_the_next_up_goes_on(folder):
    first = start(folder)
    try:
        for role in PARTS:
            before = first.pid(role)
            os.kill(before, signal.SIGKILL)
            until(lambda role=role, before=before: first.pid(role) not in (0, before), 3.0)
        until(lambda: is_ready(first), 30.0)
        ports = first.told["urls"]["workers"], first.told["redis_url"]

        first.process.kill()
        first.process.wait()
        gone_s = until(lambda: not first.alive(), 5.0)
    finally:
        first.end()

    second = start(folder)
    try:
        status, body, _ = second.ask("GET", "/api/v1/inference/services")
        again = second.told["urls"]["workers"], second.told["redis_url"]
        began = time.monotonic()
        code = second.stop(signal.SIGINT)
    finally:
        second.end()

    assert gone_s < 5.0
    assert again == ports
    assert status == 200, body
    assert (code, run_members(second.told["run_id"])) == (0, [])
    assert time.monotonic() - began < 10
