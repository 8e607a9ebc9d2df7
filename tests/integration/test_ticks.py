"""Periodic duties with several beats and control processes on one store, some of them killed: each once per period."""

import itertools
import os
import shelve
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from inference.store.database import Database
from tests.services import Valkey, die_with_tests, wait_for
from workers.queues import CONTROL_QUEUE
from workers.ticker import EARLY, RECONCILE, SWEEP, SWEEP_S

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.slow]

PROCESSES = 3


class Processes:
    """Beats and control processes as on several hosts: a folder each, one database, one broker."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self._folder = folder
        self._environ = {"PENSTOCK_DATABASE_URL": database_url, "PENSTOCK_REDIS_URL": redis_url}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def folder(self, name: str) -> Path:
        return self._folder / name

    def start(self, module: str, name: str) -> None:
        folder = self.folder(name)
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**os.environ, **self._environ, "PENSTOCK_DATA_DIR": str(folder)},
                cwd=folder,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_tests,
            )

    def end(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.running.pop(name)
        process.send_signal(number)
        process.wait(20)

    def close(self) -> None:
        for name in list(self.running):
            self.running[name].send_signal(signal.SIGCONT)
            self.end(name)


@pytest.fixture
def processes(tmp_path: Path, database_url: str, own_valkey: Valkey) -> Iterator[Processes]:
    made = Processes(tmp_path, database_url, own_valkey.url)
    yield made
    made.close()


class Ticks(threading.Thread):
    """Reads the table again and again: (seconds by the database, how often it was taken), by duty."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._is_over = threading.Event()
        self.seen: dict[str, list[tuple[float, int]]] = {}

    def read(self) -> dict[str, tuple[float, int]]:
        with self._database.read() as connection:
            rows = connection.execute(sa.text("SELECT name, taken_at, count FROM ticks")).all()
        return {row.name: (float(row.taken_at), int(row.count)) for row in rows}

    def run(self) -> None:
        while not self._is_over.wait(0.02):
            for name, state in self.read().items():
                states = self.seen.setdefault(name, [])
                if not states or states[-1] != state:
                    states.append(state)

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def closest_s(self, name: str) -> float:
        """The shortest time between two turns of a duty."""
        states = self.seen[name]
        return min((b[0] - a[0]) / (b[1] - a[1]) for a, b in itertools.pairwise(states))


def make_due(schedule: Path) -> None:
    """As if the beat that wrote this file had been away for an hour."""
    with shelve.open(str(schedule), writeback=True) as kept:
        entry = kept["entries"]["retention"]
        entry.last_run_at -= timedelta(hours=1)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_three_beats_that_missed_a_tick_and_are_killed_catch_it_up_once(
    processes: Processes, database: Database, own_valkey: Valkey
):
    names = [f"beat-{number}" for number in range(PROCESSES)]
    schedule = Path("run") / "beat-schedule"
    for name in names:
        processes.start("workers.beat", name)
    for name in names:
        at = processes.folder(name)
        wait_for(lambda at=at: list(at.glob("run/beat-schedule*")), timeout_s=40, what="the schedule file")
    time.sleep(2)
    for name in names:
        processes.end(name, signal.SIGTERM)
        make_due(processes.folder(name) / schedule)

    def sent() -> int:
        return sum(int(own_valkey.say("LLEN", key)[1:]) for key in (CONTROL_QUEUE, f"{CONTROL_QUEUE}\x06\x169"))

    for name in names:
        processes.start("workers.beat", name)
    wait_for(lambda: sent() >= PROCESSES, timeout_s=40, what="each beat caught up")
    processes.end(names[0])
    processes.start("workers.beat", names[0])
    time.sleep(3)
    asked = sent()
    for number in range(2):
        processes.start("workers.control", f"control-{number}")
    wait_for(lambda: sent() == 0, timeout_s=40, what="the control processes took all messages")
    time.sleep(1)

    taken_at, count = Ticks(database).read()["retention"]
    print(f"retention asked for {asked} times, done {count} time")
    assert asked >= PROCESSES
    assert count == 1
    assert taken_at > 0


@pytest.mark.timeout(150)
def test_three_control_processes_do_each_duty_once_per_period_and_a_missed_one_once(
    processes: Processes, database: Database
):
    names = [f"control-{number}" for number in range(PROCESSES)]
    ticks = Ticks(database)
    for name in names:
        processes.start("workers.control", name)
    wait_for(lambda: ticks.read().get(SWEEP, (0, 0))[1] >= 3, timeout_s=60, what="the first turns")
    ticks.start()

    for name in names[:2]:
        time.sleep(1.5)
        processes.end(name)
    for name in names[:2]:
        processes.start("workers.control", name)
    time.sleep(3)
    for process in processes.running.values():
        process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    _, before = ticks.read()[SWEEP]
    time.sleep(4)
    _, asleep = ticks.read()[SWEEP]
    for process in processes.running.values():
        process.send_signal(signal.SIGCONT)
    wait_for(lambda: ticks.read()[SWEEP][1] >= asleep + 3, timeout_s=30, what="turns after the pause")
    ticks.stop()

    closest = {name: ticks.closest_s(name) for name in (RECONCILE, SWEEP)}
    print(f"closest turns: {closest}; {ticks.read()}")
    assert asleep == before, "the pause was not felt"
    assert min(closest.values()) >= SWEEP_S * EARLY - 0.01
