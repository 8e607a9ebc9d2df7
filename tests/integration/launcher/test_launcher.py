"""The launcher with its real front, broker, API server and supervision, and stand-ins for what lies behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.launcher.running import ROOT, Up, run_members, until, up

ROLES = ["front", "broker", "api", "live", "control", "beat", "node"]


def ping(port: int, command: bytes = b"PING") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(command + b"\r\n")
        return connection.recv(200)


def broker_port(system: Up) -> int:
    return int(system.told["redis_url"].split(":")[2].split("/")[0])


@pytest.fixture
def system(tmp_path):
    with up(tmp_path) as running:
        yield running


def test_every_process_runs_in_the_data_folder_under_its_role_and_with_resolved_urls(system):
    for role in ROLES:
        pid = system.pid(role)
        values = dict(
            item.split("=", 1) for item in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in item
        )
        assert Path(f"/proc/{pid}/cwd").readlink() == system.data_dir
        assert values["PENSTOCK_ROLE"] == role
        assert values["PENSTOCK_DATA_DIR"] == str(system.data_dir)
        assert values["PENSTOCK_RUN_ID"] == system.told["run_id"]
        # nginx and Valkey are told of no database: a URL may hold a password.
        is_ours = role not in ("front", "broker")
        assert values["PENSTOCK_REDIS_URL"] == values["PENSTOCK_BROKER_URL"]
        assert values["PENSTOCK_REDIS_URL"] == (system.told["redis_url"] if is_ours else "")
        assert values["PENSTOCK_DATABASE_URL"] == (f"sqlite:///{system.data_dir}/penstock.db" if is_ours else "")


def test_a_part_that_is_killed_is_back_within_three_seconds_on_the_same_port_and_data(system):
    ping(broker_port(system), b"SET kept yes")

    for role in ROLES:
        before = system.pid(role)
        os.kill(before, signal.SIGKILL)
        until(lambda role=role, before=before: system.pid(role) not in (0, before), 3.0)
    took_s = until(lambda: system.who() and system.who("/api/inference/tasks/1?wait=1"), 3.0)

    assert took_s < 3.0
    assert [system.restarts(role) for role in ROLES] == [1] * len(ROLES)
    assert b"yes" in ping(broker_port(system), b"GET kept")


def test_a_connection_that_comes_while_the_front_is_down_waits_instead_of_being_refused(system):
    os.kill(system.pid("front"), signal.SIGKILL)

    status, _, _ = system.ask("GET", "/at-once")

    assert status == 200


def test_api_workers_end_with_their_killed_main_process_and_new_ones_take_the_socket(system):
    main, (_, worker) = system.pid("api"), system.who()
    os.kill(main, signal.SIGKILL)

    until(lambda: (now := system.who()) and now[1] != worker, 3.0)

    until(lambda: not Path(f"/proc/{worker}").exists(), 1.0)


def test_a_killed_api_worker_is_replaced_while_the_others_answer(system):
    _, worker = system.who()
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()

    answers = []
    while time.monotonic() - began < 1.5:
        answers.append(system.ask("GET", "/")[0])

    assert set(answers) == {200}
    assert system.restarts("api") == 0


def test_nothing_is_left_when_the_launcher_is_killed(system):
    # One of granian's workers makes the system ready; all three, and the stand-in's one, come a moment later.
    until(lambda: len(system.alive()) >= len(ROLES) + 4, 10.0)

    system.process.kill()
    system.process.wait()

    until(lambda: not system.alive(), 5.0)
    assert system.alive() == []


def test_ctrl_c_ends_everything_with_code_zero(system):
    run_id = system.told["run_id"]

    began = time.monotonic()
    code = system.stop(signal.SIGINT)

    assert (code, run_members(run_id)) == (0, [])
    assert time.monotonic() - began < 10
    assert not (system.data_dir / "run" / "up.json").exists()


def test_a_part_that_ignores_sigterm_does_not_hold_up_the_end(tmp_path):
    with up(tmp_path, STANDIN_STUBBORN="1") as system:
        began = time.monotonic()
        code = system.stop(signal.SIGTERM)

        assert code == 0
        assert time.monotonic() - began < 10
        assert system.alive() == []
        assert "did not end in time, killed: beat" in system.said()


def test_a_second_ctrl_c_kills_at_once(tmp_path):
    with up(tmp_path, STANDIN_STUBBORN="1") as system:
        os.killpg(system.process.pid, signal.SIGINT)
        time.sleep(0.8)
        code = system.stop(signal.SIGINT, limit_s=2.0)

        assert code == 130
        assert system.alive() == []


def test_a_second_up_on_the_same_folder_is_refused_and_the_first_goes_on(system):
    second = subprocess.run(
        [sys.executable, "-m", "workers.launch", "up", "--port", "0", "--data-dir", str(system.data_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )

    assert second.returncode == 1
    assert str(system.process.pid) in second.stderr
    assert "already runs" in second.stderr
    assert "Traceback" not in second.stderr
    assert system.who() is not None
    assert system.state()["pid"] == system.process.pid


def test_after_kill_9_of_everything_the_next_up_goes_on_with_the_same_ports_and_broker_data(tmp_path):
    with up(tmp_path) as first:
        port = broker_port(first)
        ping(port, b"RPUSH waiting one two three")
        for pid in [first.process.pid, *first.alive()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        with up(tmp_path) as second:
            assert broker_port(second) == port
            assert ping(port, b"LLEN waiting") == b":3\r\n"
            assert second.who() is not None


def test_what_an_earlier_run_left_is_ended_first_and_what_others_started_is_not(tmp_path):
    def sleeper(**values: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ | values)

    mine = {"PENSTOCK_ROLE": "worker", "PENSTOCK_RUN_ID": "earlier", "PENSTOCK_DATA_DIR": str(tmp_path)}
    left, other = sleeper(**mine), sleeper(**mine | {"PENSTOCK_DATA_DIR": str(tmp_path / "other")})
    by_hand = sleeper(**mine | {"PENSTOCK_RUN_ID": ""})

    with up(tmp_path) as system:
        codes = left.wait(1), other.poll(), by_hand.poll()
        said = system.said()

    for process in (other, by_hand):
        process.kill()
        process.wait()
    assert codes == (-signal.SIGKILL, None, None)
    assert "ended 1 process" in said


def test_a_part_that_keeps_ending_shows_the_end_of_its_log_and_slows_down(tmp_path):
    with up(tmp_path, STANDIN_CRASH="1") as system:
        until(lambda: "cannot find its spanner" in system.said(), 10)
        time.sleep(2)

        assert "control does not stay up" in system.said()
        assert system.restarts("control") < 10
        assert system.who() is not None


def test_a_taken_port_is_one_clear_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = subprocess.run(
            [sys.executable, "-m", "workers.launch", "up", "--data-dir", str(tmp_path), "--port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    assert refused.returncode == 1
    assert "choose another with --port" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_status_lists_every_process_as_one_json_object(system):
    (system.data_dir / "run" / "node.json").write_text(
        json.dumps([{"role": "worker", "pid": os.getpid(), "service_id": "abc", "restarts": 2}])
    )

    shown = subprocess.run(
        [sys.executable, "-m", "workers.launch", "status", "--data-dir", str(system.data_dir), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )

    found = json.loads(shown.stdout)
    assert [entry["role"] for entry in found["processes"]] == [*ROLES, "worker"]
    assert found["processes"][-1] == {"role": "worker", "pid": os.getpid(), "service_id": "abc", "restarts": 2}
    assert found["urls"]["api"] == system.told["urls"]["api"]
