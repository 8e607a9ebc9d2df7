"""Preemption in a whole system: a card that is only written down, real processes, and jobs that keep coming."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.conftest import OwnSystem
from tests.services import wait_for
from tests.system import BASE, System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CARD = json.dumps([{"uuid": "sim-0", "name": "card", "memory": "16Gi"}])
SHARE = {"gpu": 1, "gpu_memory": "10Gi"}


@contextmanager
def stream(system: System, service_id: str) -> Iterator[list[str]]:
    """Sends four jobs a second while the block runs; ids of what was accepted. A refusal fails the test."""
    sent: list[str] = []
    is_over, failures = threading.Event(), list[BaseException]()

    def send() -> None:
        try:
            while not is_over.wait(0.25):
                sent.append(system.submit(service_id, 2.0))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        is_over.set()
        thread.join()
    assert failures == []


def test_a_higher_priority_takes_the_card_and_no_job_of_the_lower_one_is_lost_or_charged(own_system: OwnSystem):
    system = own_system(RESOURCES__DEVICES=CARD, SERVING__RESIDENCY_S=0, ENGINES__PROFILE_BUDGET_S=0.1)
    shares = {"resource_requirements": SHARE}
    low = system.run("double", config={"priority": 2, "max_batch": 4, **shares}, sleep_ms=100)
    with stream(system, low) as sent:
        wait_for(lambda: system.states(low).get("completed", 0) > 4, timeout_s=20, what="work of the lower one")

        high = system.run("double", config={"priority": 8, **shares})
        told = system.show(low)
        done = system.task(system.submit(high, 3.0), wait_s=10)
        system.ask("POST", f"{BASE}/services/{high}/stop")
        wait_for(lambda: system.show(low)["status"] == "running", timeout_s=20, what="the lower one back")
    states = system.until_done(low, timeout_s=30)

    assert (told["status"], told["replicas_ready"]) == ("preempted", 0)
    assert f"({high})" in told["reason"]
    assert done["result"] == {"y": [[6.0] * 4]}
    assert states == {"completed": len(sent)}
    assert {job.crashes for job in system.jobs(low)} == {0}
    events = system.rows("SELECT to_state FROM service_events WHERE service_id = :s ORDER BY at DESC", s=low)
    assert [event.to_state for event in events][:4] == ["running", "deploying", "preempted", "running"]
    assert system.rows("SELECT device, sum(card_bytes) FROM leases GROUP BY device") == [("sim-0", 10 << 30)]


def test_a_batch_under_way_ends_before_the_lower_service_goes(own_system: OwnSystem):
    system = own_system(RESOURCES__DEVICES=CARD, SERVING__RESIDENCY_S=0, ENGINES__PROFILE_BUDGET_S=0.1)
    low = system.run("hang", config={"priority": 2, "resource_requirements": SHARE}, hang_s=2)
    job = system.submit(low, 777.0)
    wait_for(lambda: system.task(job)["status"] == "running", timeout_s=10, what="a running job")

    high = system.create(system.register("double"), priority=3, resource_requirements=SHARE)
    system.begin(high)
    wait_for(lambda: system.show(low)["status"] == "preempted", timeout_s=10, what="the eviction")
    early = [row.state for row in system.rows("SELECT state FROM leases ORDER BY replica_id")]
    system.until_ready(high)

    assert early == ["allocated", "reserved"]
    assert system.task(job)["status"] == "completed"
    (row,) = system.jobs(low)
    assert (row.attempt, row.crashes) == (1, 0)
