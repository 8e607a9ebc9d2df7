"""A broker that is killed and comes back: no worker may die of the reconnect, as Celery 5.7.0 alone does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference.settings import load
from tests.integration.conftest import OwnSystem
from tests.late_acks import QUEUE, TASK
from tests.services import Valkey, die_with_tests, wait_for
from tests.system import ROOT, kill
from workers import publisher

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JOBS = 6


def done(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "lives"), [("bare", False), ("guarded", True)])
def test_a_worker_of_ours_survives_a_reconnect_with_unacknowledged_messages(
    tmp_path: Path, own_valkey: Valkey, kind: str, lives: bool
):
    log = tmp_path / "done"
    environ = {"PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_REDIS_URL": own_valkey.url}
    with (tmp_path / "worker.log").open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.late_acks", kind, str(log)],
            env={**os.environ, **environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_tests,
        )
    sender = publisher.Sender(load(environ))
    for number in range(JOBS):
        sender.send(QUEUE, TASK, [number])
    sender.drop()
    wait_for(lambda: done(log), timeout_s=60, what="the first task is done")

    own_valkey.process.kill()
    time.sleep(0.5)
    own_valkey.start()

    is_over = (lambda: set(done(log)) == set(range(JOBS))) if lives else (lambda: worker.poll() is not None)
    try:
        wait_for(is_over, timeout_s=40, what=(tmp_path / "worker.log").read_text()[-3000:])
        assert (worker.poll() is None) == lives
        assert ("object has no attribute 'hostname'" in (tmp_path / "worker.log").read_text()) or lives
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.timeout(180)
def test_five_reconnects_under_load_cost_no_worker_and_no_attempt(own_system: OwnSystem):
    system = own_system()
    service = system.run("double", config={"max_batch": 4}, sleep_ms=20)
    before = system.pids("worker", service) + system.pids("engine", service) + system.pids("control")
    ids = system.submit_many(service, [1.0] * 200)

    for _ in range(5):
        (broker,) = system.pids("broker")
        kill(broker)
        wait_for(lambda old=broker: system.pids("broker") not in ([], [old]), timeout_s=20, what="the broker again")
        ids += [system.submit(service) for _ in range(10)]
        time.sleep(1)
    states = system.until_done(service, timeout_s=60)
    ids.append(system.submit(service))
    last = system.task(ids[-1], wait_s=20)["status"]

    print(f"five times another broker; {len(ids)} jobs")
    assert states == {"completed": len(ids) - 1}
    assert last == "completed"
    assert {(row.attempt, row.crashes) for row in system.jobs(service)} == {(1, 0)}
    assert system.pids("worker", service) + system.pids("engine", service) + system.pids("control") == before
