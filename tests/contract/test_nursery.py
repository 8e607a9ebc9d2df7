"""Forked processes are what started ones would be: whose children, under which name, and how long they live."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference import lifeline
from tests.services import wait_for
from tests.system import ROOT
from workers.launching.born import Task
from workers.launching.nursery import Nursery
from workers.launching.roles import Role
from workers.launching.supervise import Supervisor, nursery_environment
from workers.supervisor import is_alive

TELL = "import os, sys; print(sys.argv, os.getcwd(), os.environ['PENSTOCK_ROLE'], flush=True)"


def environment(role: str = "nursery") -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_ROLE": role}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nursery")
    made = Nursery.opened(environ=environment(), cwd=folder, log=folder / "nursery.log")
    wait_for(made.is_warm, timeout_s=60, what="a warm nursery")
    yield made
    made.end()
    lifeline.reap_orphans(())


def texts(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/{name}").read_bytes().decode().rstrip("\0").split("\0")


def test_a_forked_process_is_our_child_with_its_own_name_folder_log_and_code(nursery, tmp_path):
    ends, held = os.pipe()
    high = fcntl.fcntl(ends, fcntl.F_DUPFD, 300)
    code = f"{TELL}; sys.stdin.read(); os.read({high}, 1); sys.exit(5)"
    log, argv = tmp_path / "log", (sys.executable, "-c", code, "two")

    forked = nursery.start(
        Task(argv=argv, environ=environment("odd"), cwd=str(tmp_path), log=str(log), leads_session=True), [high]
    )
    seen = texts(forked.pid, "cmdline"), texts(forked.pid, "environ"), os.getsid(forked.pid)
    parent = int(Path(f"/proc/{forked.pid}/stat").read_text().rpartition(")")[2].split()[1])
    fds = sorted(int(entry.name) for entry in Path(f"/proc/{forked.pid}/fd").iterdir())
    os.write(held, b".")
    ended = forked.wait(20)

    for number in (ends, held, high):
        os.close(number)
    assert seen[0] == list(argv)
    assert {f"{name}={value}" for name, value in environment("odd").items()} == set(seen[1])
    assert (seen[2], parent, fds, ended) == (forked.pid, os.getpid(), [0, 1, 2, high], 5)
    assert log.read_text() == f"['-c', 'two'] {tmp_path} odd\n"


def test_forked_processes_are_told_apart_by_their_signals_and_end_with_who_asked(nursery, tmp_path):
    client = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from workers.launching.born import Task\nfrom workers.launching.nursery import Nursery\n"
        "made = Nursery.opened(environ=os.environ, cwd=Path(), log=Path('log'))\n"
        "while not made.is_warm(): time.sleep(0.01)\n"
        "argv = (sys.executable, '-c', 'import time; time.sleep(60)')\n"
        "print(made.pid, made.start(Task(argv=argv, environ=dict(os.environ))).pid, flush=True)\n"
        "time.sleep(60)"
    )
    forked = nursery.start(Task(argv=(sys.executable, "-c", "import time; time.sleep(60)"), environ=environment()))

    forked.terminate()
    code = forked.wait(10)
    process = subprocess.Popen([sys.executable, "-c", client], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    process.kill()
    process.communicate()

    assert code == -signal.SIGTERM
    assert len(pids) == 2
    wait_for(lambda: not any(is_alive(pid) for pid in pids), timeout_s=10, what="all gone")


def test_what_waits_to_be_copied_holds_nothing_open_and_shows_no_secret(nursery):
    open_ones = [str(entry.readlink()) for entry in Path(f"/proc/{nursery.pid}/fd").iterdir()]

    assert len(open_ones) == 4, open_ones  # the standard ones, and the line to who asks
    assert "NURSERY_ROOM" not in " ".join(texts(nursery.pid, "cmdline"))


def test_a_part_is_started_in_the_slow_way_while_the_nursery_is_gone_and_forked_again_later(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "part.py").write_text(
        "import sys, time\nprint('billiard' in sys.modules, flush=True)\ntime.sleep(60)\n"
    )
    environ = {**environment(), "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    supervisor = Supervisor(data_dir=tmp_path, environment=environ, say=lambda _: None)
    supervisor.listen_to_signals()
    told = tmp_path / "logs" / "part.log"

    def told_lines(count: int) -> bool:
        return told.exists() and len(told.read_text().splitlines()) == count

    try:
        supervisor.warm()
        supervisor.wait(supervisor.is_warm, limit_s=60)
        supervisor.add([Role(name="part", argv=(sys.executable, "-m", "part"), is_forked=True)])
        assert supervisor.wait(lambda: told_lines(1), limit_s=20)
        os.kill(supervisor.nursery_pid, signal.SIGKILL)
        for count in (2, 3):
            os.kill(supervisor.children["part"].pid, signal.SIGKILL)
            assert supervisor.wait(lambda n=count: told_lines(n), limit_s=20)
            supervisor.wait(supervisor.is_warm, limit_s=60)
            time.sleep(0.1)
    finally:
        supervisor.killed = True
        supervisor.stop()

    assert told.read_text().split() == ["True", "False", "True"]


LAUNCHER = """
import os, sys, time
from pathlib import Path
from workers.launching import cradle
from workers.launching.born import Task
from workers.launching.nursery import Nursery

TOLD = "import os, sys; print(*(name in sys.modules for name in ('workers.launching.nursery', 'celery')), os.environ)"
if __name__ == "__main__":
    cradle.enter("top", is_bare=True)
    made = Nursery.branched(lambda: cradle.show("top", environ={"PENSTOCK_ROLE": "nursery"}))
    while not made.is_warm():
        time.sleep(0.01)
    print(Path(f"/proc/{made.pid}/environ").read_text().strip(chr(0)), sys.argv[1:], flush=True)
    made.start(Task(argv=(sys.executable, "-c", TOLD), environ={"PENSTOCK_ROLE": "part"})).wait(20)
    made.end()
"""


def test_a_launcher_that_branches_shares_what_it_has_loaded_and_shows_nothing_of_its_environment(tmp_path):
    (tmp_path / "top.py").write_text(LAUNCHER)
    environ = {**environment(), "PYTHONPATH": f"{ROOT}:{tmp_path}", "PENSTOCK_REDIS_URL": "redis://:secret@h"}

    done = subprocess.run(
        [sys.executable, "-m", "top", "up"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )

    assert done.stdout.splitlines() == [
        "PENSTOCK_ROLE=nursery ['up']",
        "True False environ({'PENSTOCK_ROLE': 'part'})",
    ], done.stderr


def test_a_nursery_is_told_the_kind_of_database_and_no_password():
    urls = {"PENSTOCK_DATABASE_URL": "postgresql://u:secret@h/d", "PENSTOCK_REDIS_URL": "redis://:secret@h"}

    told = nursery_environment(urls)

    assert told["PENSTOCK_DATABASE_URL"] == "postgresql:"
    assert "secret" not in str(told)
