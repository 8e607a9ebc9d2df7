"""Whatever is asked to end ends in time, and takes nothing with it: one worker, and every part one after the other."""

import signal
import time

import pytest

from inference.settings import WorkersSettings
from tests.integration.conftest import OwnSystem
from tests.load import Load
from tests.system import System, kill, wait_for
from workers.supervisor import is_alive

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.alone]

GRACE_S = WorkersSettings().stop_grace_s
PATIENCE_S = 20
"""How much longer than promised a busy machine may take."""


def is_done(system: System, task: str) -> bool:
    return system.rows("SELECT state FROM jobs WHERE id = :id", id=task)[0].state == "completed"


def end_worker(system: System, service: str) -> float:
    """How long the service's worker took to go after SIGTERM."""
    (worker,) = system.pids("worker", service)
    begun = time.monotonic()
    kill(worker, signal.SIGTERM)
    wait_for(lambda: not is_alive(worker), timeout_s=GRACE_S + PATIENCE_S, what="the worker ends")
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("hang_s", "what"), [(0.8, "finishes its batch"), (9, "gives its batch back")], ids=["short", "long"]
)
def test_a_worker_that_is_asked_to_end_finishes_or_gives_back_and_charges_nobody(
    system: System, hang_s: float, what: str
):
    service = system.run("hang", config={"max_batch": 2}, hang_s=hang_s)
    ids = system.submit_many(service, [777.0, 1.0])
    wait_for(lambda: system.states(service).get("running"), timeout_s=15, what="a batch under way")

    ended_s = end_worker(system, service)
    states = system.until_done(service, timeout_s=60)

    print(f"a worker that {what} was gone {ended_s:.1f} s after SIGTERM; its grace is {GRACE_S:g} s")
    assert states == {"completed": len(ids)}
    assert {(row.attempt, row.crashes) for row in system.jobs(service)} == {(1, 0)}
    assert ended_s < GRACE_S + PATIENCE_S


@pytest.mark.timeout(180)
def test_sigterm_to_every_part_one_after_the_other_loses_no_attempt_and_no_job(own_system: OwnSystem):
    system = own_system()
    service = system.run("double", config={"max_batch": 4}, sleep_ms=30)
    ended = 0

    with Load(system, service, pause_s=0.1, priorities=(0,)) as load:  # less than it can do, or the least urgent waits
        for role in ("api", "live", "control", "node", "worker", "broker"):
            wait_for(lambda: len(load.acknowledged) > 10, timeout_s=30, what="load")
            before = system.pids(role)
            for pid in before:
                ended += kill(pid, signal.SIGTERM)
            wait_for(lambda r=role, b=before: set(system.pids(r)) - set(b), timeout_s=30, what=f"another {role}")
            wait_for(lambda: system.http.get("/readyz").status_code == 200, timeout_s=30, what=f"ready after {role}")
            task = load.acknowledged[-1]
            wait_for(lambda t=task: is_done(system, t), timeout_s=30, what=f"work after {role}")
    system.until_done(service, timeout_s=60)

    there = {row.id: row for row in system.jobs(service)}
    print(f"{ended} parts ended; {len(load.acknowledged)} tasks acknowledged; answers {load.statuses()}")
    assert ended >= 6
    assert {there[task].state for task in load.acknowledged} == {"completed"}
    assert {(row.attempt, row.crashes) for row in there.values()} == {(1, 0)}
