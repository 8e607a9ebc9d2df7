"""The write gate of SQLite, tried with real processes: one at a time, fair, bounded, and free after a kill."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.errors import StoreUnavailable
from inference.settings import StoreSettings
from inference.store.database import Database
from inference.store.gate import Gate
from tests.contract.processes import answer, discard, release_together, spawn, wait_for_line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db.gate"


@pytest.fixture
def holder(path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that has the turn."""
    process = spawn("hold", path)
    assert wait_for_line(process) == "held"
    yield process
    discard(process)


def seconds_until_refused(gate: Gate) -> float:
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable), gate.turn():
        pass
    return time.monotonic() - begun


@pytest.mark.alone
def test_two_processes_that_never_stop_asking_get_a_fair_share_each(path: Path):
    Path(f"{path}.number").write_text("0")
    both = [spawn("hammer", path, 1.5) for _ in range(2)]

    release_together(both)
    told = [answer(process) for process in both]

    turns = [one["turns"] for one in told]
    print(f"turns {turns}, longest wait {max(one['longest_s'] for one in told):.3f} s")
    assert min(turns) > 100
    assert min(turns) / sum(turns) > 0.35
    assert max(one["longest_s"] for one in told) < 0.5


def test_one_at_a_time_among_processes(path: Path):
    number = Path(f"{path}.number")
    number.write_text("0")
    four = [spawn("hammer", path, 0.7) for _ in range(4)]

    release_together(four)
    turns = sum(answer(process)["turns"] for process in four)

    assert turns > 100
    assert int(number.read_text()) == turns


def test_one_at_a_time_among_threads(path: Path):
    gate, inside, most = Gate(path, timeout_s=10), 0, 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(50):
            with gate.turn():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1


def test_a_wait_ends_at_its_limit_when_the_holder_sleeps(path: Path, holder: "subprocess.Popen[str]"):
    holder.send_signal(signal.SIGSTOP)

    waits = [seconds_until_refused(Gate(path, timeout_s=0.3)) for _ in range(2)]

    assert all(0.29 < wait < 1.0 for wait in waits), waits


def test_a_wait_that_was_given_up_blocks_nobody_later(path: Path, holder: "subprocess.Popen[str]"):
    gate = Gate(path, timeout_s=0.3)
    seconds_until_refused(gate)

    holder.communicate("let go\n", timeout=10)
    begun = time.monotonic()
    with gate.turn():
        mine = time.monotonic() - begun
    other = spawn("hold", path)
    theirs = wait_for_line(other)
    discard(other)

    assert mine < 0.2
    assert theirs == "held"


def test_a_turn_that_comes_just_after_the_limit_is_handed_on(path: Path, holder: "subprocess.Popen[str]"):
    """The abandoned waiter gets the lock when nobody here wants it any more, and must not keep it."""
    seconds_until_refused(Gate(path, timeout_s=0.2))

    holder.communicate("let go\n", timeout=10)
    time.sleep(0.2)

    fresh = Gate(path, timeout_s=1.0)
    with fresh.turn():
        pass
    fresh.close()


def test_the_gate_is_free_at_once_when_its_holder_is_killed(path: Path, holder: "subprocess.Popen[str]"):
    gate = Gate(path, timeout_s=5)
    threading.Timer(0.3, holder.kill).start()

    begun = time.monotonic()
    with gate.turn():
        waited = time.monotonic() - begun

    assert 0.2 < waited < 1.5


def test_a_forked_child_has_descriptors_of_its_own(path: Path):
    assert answer(spawn("fork", path)) == {"kept_out": True, "let_in": True}


def test_a_stopped_writer_makes_the_store_unavailable_and_reads_go_on(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/db", StoreSettings(gate_timeout_s=0.3))
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n int)")
    holder = spawn("hold", tmp_path / "db.gate")
    assert wait_for_line(holder) == "held"
    holder.send_signal(signal.SIGSTOP)

    with pytest.raises(StoreUnavailable) as refusal, database.write():
        pass
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one()
    discard(holder)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    database.close()

    assert rows == 0
    assert refusal.value.retryable
    assert refusal.value.details["retry_after_s"] > 0
