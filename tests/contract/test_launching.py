"""The launcher's parts inside this process, over real processes, files and sockets."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inference import lifeline
from inference import settings as settings_room
from inference.errors import BadSettings
from workers import launch
from workers.launching import broker, folder, front, status, up
from workers.launching.roles import Role, Stage
from workers.launching.supervise import Supervisor

SLEEP = ("sleep", "60")


@pytest.fixture(autouse=True)
def _this_process_stays_as_it_was():
    kept = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    }
    umask = os.umask(0o022)
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in kept.items():
        signal.signal(number, handler)
    os.umask(umask)
    lifeline._prctl(lifeline._PR_SET_CHILD_SUBREAPER, 0)


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(tmp_path, said):
    folder.prepare(tmp_path)
    made = Supervisor(data_dir=tmp_path, environment=os.environ, say=said.append)
    made.listen_to_signals()
    yield made
    made.killed = True
    made.stop()


def test_a_killed_part_is_started_again_and_counted(supervisor, said):
    supervisor.add([Role(name="node", argv=SLEEP)])
    child = supervisor.children["node"]
    before = child.pid

    os.kill(before, signal.SIGKILL)
    came_back = supervisor.wait(lambda: child.pid not in (0, before), limit_s=3.0)

    assert came_back
    assert child.restarts == 1
    assert said == ["node was killed by SIGKILL; started again in 0.1 s"]


def test_a_part_that_keeps_ending_shows_its_log(supervisor, said):
    supervisor.add([Role(name="beat", argv=("sh", "-c", "echo no spanner >&2; exit 7"))])

    supervisor.wait(lambda: "    no spanner" in said, limit_s=10.0)

    assert said[0] == "beat ended with code 7; started again in 0.1 s"
    assert "does not stay up" in said[3]


def test_an_errand_gives_its_exit_code_and_is_cut_short_by_the_end(supervisor):
    code = supervisor.run_once("migrate", ("sh", "-c", "exit 5"))
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    cut = supervisor.run_once("migrate", SLEEP)

    assert (code, cut) == (5, None)


def test_the_end_goes_stage_by_stage_and_does_not_wait_for_the_stubborn(supervisor, said, tmp_path):
    stubborn = ("sh", "-c", "trap '' TERM; touch ready; while :; do sleep 1; done")
    supervisor.add([Role(name="broker", argv=SLEEP, stage=Stage.GROUND), Role(name="node", argv=stubborn)])
    supervisor.wait(lambda: (tmp_path / "ready").exists(), limit_s=5.0)

    began = time.monotonic()
    supervisor.stop(limit_s=2.0, softly_s=1.0)

    assert time.monotonic() - began < 2.5
    assert said[-1] == "did not end in time, killed: node"
    assert all(child.process is None for child in supervisor.children.values())


def test_orphans_of_a_part_are_waited_for(supervisor):
    supervisor.add([Role(name="api", argv=("sh", "-c", "sleep 0.2 & exec sleep 60"))])
    os.kill(supervisor.children["api"].pid, signal.SIGKILL)

    supervisor.wait(lambda: False, limit_s=0.6)

    zombies = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "stat="], capture_output=True, text=True)
    assert "Z" not in zombies.stdout


def test_a_folder_belongs_to_one_launcher(tmp_path):
    folder.prepare(tmp_path)
    held = folder.lock(tmp_path)

    with pytest.raises(folder.AlreadyRunning, match=f"process {os.getpid()}"):
        folder.lock(tmp_path)
    os.close(held)

    os.close(folder.lock(tmp_path))


def test_ports_are_kept_while_they_are_free(tmp_path):
    folder.prepare(tmp_path)
    first = folder.choose_ports(tmp_path, names=("broker", "node"))
    second = folder.choose_ports(tmp_path, names=("broker", "node"))
    with socket.create_server(("127.0.0.1", first.broker)):
        third = folder.choose_ports(tmp_path, names=("broker", "node"))

    assert first == second
    assert (third.broker != first.broker, third.node) == (True, first.node)


def test_what_is_left_of_a_run_is_found_and_ended(tmp_path):
    marks = {"PENSTOCK_ROLE": "worker", "PENSTOCK_RUN_ID": "r", "PENSTOCK_DATA_DIR": str(tmp_path)}
    left = subprocess.Popen(SLEEP, env=os.environ | marks)

    found = folder.sweep(tmp_path)

    assert found == [(left.pid, "worker")]
    assert left.wait(1) == -signal.SIGKILL
    assert folder.sweep(tmp_path) == []


def test_the_end_of_a_log_can_be_read(tmp_path):
    log = tmp_path / "api.log"
    log.write_text("one\ntwo\nthree\n")

    assert folder.last_lines(log, 2) == ["two", "three"]
    assert folder.last_lines(tmp_path / "none", 3) == []


def test_a_child_ends_with_the_thread_that_started_it():
    pids = []
    starter = threading.Thread(target=lambda: pids.append(subprocess.Popen(SLEEP, preexec_fn=lifeline.preexec())))
    starter.start()
    starter.join()

    assert pids[0].wait(2) == -signal.SIGKILL


def serve(ports, live_processes=1):
    """A tiny API on the socket that the front asks, and somebody on the live process's."""
    code = (
        "import http.server, os, socket, socketserver\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "    def address_string(self): return ''\n"
        "live = socket.socket(socket.AF_UNIX)\n"
        f"live.bind('{front.LIVE_SOCKET}')\n"
        "live.listen()\n"
        f"socketserver.UnixStreamServer('{front.API_SOCKET}', H).serve_forever()\n"
    )
    return [Role(name="api", argv=(sys.executable, "-c", code)), Role(name="node", argv=SLEEP)]


def interrupt_when_there(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_whole_run_from_the_lock_to_the_last_process_gone(tmp_path, capfd):
    settings = settings_room.load({"PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_API__PORT": "0"})
    ready = tmp_path / "ready.json"
    threading.Thread(target=interrupt_when_there, args=(ready,), daemon=True).start()

    code = up.run(settings, environ=os.environ, ready_file=ready, print_json=True, work=serve, migrate=("true",))

    out, err = capfd.readouterr()
    told = json.loads(out)
    assert code == 0
    assert [entry["role"] for entry in told["processes"]] == ["front", "broker", "api", "node"]
    assert json.loads(ready.read_text()) == told
    assert "no key is asked for" in err
    assert list(folder.processes_of(run_id=told["run_id"])) == []
    assert status.read(tmp_path)["running"] is False


def test_a_database_that_cannot_be_brought_up_to_date_ends_the_start_with_its_reason(tmp_path, capfd):
    settings = settings_room.load({"PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_API__PORT": "0"})

    code = up.run(settings, environ=os.environ, work=serve, migrate=("sh", "-c", "echo disk is full; exit 1"))

    assert code == 1
    assert "disk is full" in capfd.readouterr().err


def test_a_broker_that_is_not_there_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not broker.answers(silent.getsockname()[1])


def test_status_lists_the_engines_below_a_worker(tmp_path):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', '#spawn_main\\nimport time; time.sleep(60)'])"
    worker = subprocess.Popen([sys.executable, "-c", code])
    try:
        until = time.monotonic() + 10
        while not (engines := status.engines_of(worker.pid)) and time.monotonic() < until:
            time.sleep(0.05)
        folder.prepare(tmp_path)
        folder.write_json(
            tmp_path / "run" / "node.json",
            {"processes": [{"role": "worker", "pid": worker.pid, "service_id": "abc", "restarts": 0}]},
        )
        found = status.read(tmp_path)["processes"]
    finally:
        for pid in [*status.engines_of(worker.pid), worker.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.wait(5)

    assert [entry["role"] for entry in found] == ["worker", "engine"]
    assert found[1] == {"role": "engine", "pid": engines[0], "service_id": "abc", "restarts": 0}


def test_the_command_says_what_is_wrong_in_one_sentence(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = launch.main(["up", "--port", port, "--data-dir", str(tmp_path)], {})
    stopped = launch.main(["status", "--data-dir", str(tmp_path)], {})
    shown = capsys.readouterr()

    assert (refused, stopped) == (1, 1)
    assert "choose another with --port" in shown.err
    assert "does not run" in shown.out


def test_a_machine_without_an_nginx_is_told_so(monkeypatch):
    monkeypatch.setattr(front.platform, "machine", lambda: "sparc64")

    with pytest.raises(BadSettings, match="needs nginx"):
        front.binary()
