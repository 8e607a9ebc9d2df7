"""Cancelling what runs: the engine is free soon, the status is true, and the others of the batch are none the worse."""

import time

import pytest

from tests import onnx_models
from tests.system import BASE, System, seconds_until, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ENDLESS = 4e15
"""Rounds of the loop model that take years."""


def cancel(system: System, task_id: str) -> str:
    return str(system.ask("POST", f"{BASE}/tasks/{task_id}/cancel")["status"])


def until_running(system: System, service: str, count: int = 1) -> None:
    def are_running() -> bool:
        started = [job for job in system.jobs(service) if job.state == "running" and job.started_at is not None]
        return len(started) >= count

    wait_for(are_running, timeout_s=15, what=f"{count} running")


def until_free(system: System, service: str, value: float) -> float:
    """Seconds until a fresh job is answered."""
    began = time.monotonic()
    task = system.task(system.submit(service, value, priority=9), wait_s=30)
    assert task["status"] == "completed", task
    return time.monotonic() - began


@pytest.fixture
def loops(system: System, tmp_path) -> str:
    """A service of a real ONNX model that runs for as long as its input says."""
    model = system.register("onnx", onnx_models.loop(tmp_path / "loop.onnx", None))
    service = system.create(model, max_batch=4, timeout_s=600)
    system.begin(service)
    system.until_ready(service)
    return service


def test_a_real_engine_is_stopped_within_its_process(system: System, loops: str):
    engine = system.pids("engine", loops)
    task_id = system.submit(loops, ENDLESS)
    until_running(system, loops)

    answer = cancel(system, task_id)
    seconds = seconds_until(
        lambda: system.task(task_id)["status"] == "cancelled", timeout_s=15, what="the task cancelled"
    )
    free = until_free(system, loops, 1.0)

    print(f"cancelled after {seconds:.2f} s, the engine answered another {free:.2f} s later")
    assert answer == "running", "it was not cancelled yet, and did not say so"
    assert system.pids("engine", loops) == engine
    (shown,) = [job for job in system.jobs(loops) if job.id == task_id]
    assert shown.attempt == 0


def test_the_others_of_a_stopped_batch_run_again_uncharged(system: System, loops: str):
    """They came while nothing ran, as one batch: one would run for ever, and is cancelled."""
    ids = system.submit_many(loops, [1.0, ENDLESS, 2.0, 3.0])
    until_running(system, loops, 4)

    cancel(system, ids[1])
    seconds = seconds_until(lambda: not system.states(loops).get("running"), timeout_s=20, what="nothing runs")
    system.until_done(loops, timeout_s=20)

    shown = {job.id: job for job in system.jobs(loops)}
    print(f"free after {seconds:.2f} s")
    assert [shown[one].state for one in ids] == ["completed", "cancelled", "completed", "completed"]
    assert [shown[one].attempt for one in ids] == [1, 0, 1, 1]
    assert {shown[one].crashes for one in ids} == {0}


def test_an_engine_that_does_not_listen_is_replaced_and_its_mates_are_not_charged(system: System):
    service = system.run("hang", config={"max_batch": 4, "timeout_s": 600}, value=777)
    engine = system.pids("engine", service)
    ids = system.submit_many(service, [1.0, 777.0, 2.0])
    until_running(system, service, 3)

    cancel(system, ids[1])
    seconds = seconds_until(lambda: not system.states(service).get("running"), timeout_s=20, what="the engine ended")
    system.until_done(service, timeout_s=30)

    shown = {job.id: job for job in system.jobs(service)}
    print(f"the child was gone after {seconds:.2f} s")
    assert [shown[one].state for one in ids] == ["completed", "cancelled", "completed"]
    assert [shown[one].attempt for one in ids] == [1, 0, 1]
    assert {shown[one].crashes for one in ids} == {0}
    assert system.pids("engine", service) != engine


def test_a_call_past_its_time_is_stopped_in_its_process_and_only_the_task_that_hung_fails(system: System, loops: str):
    engine = system.pids("engine", loops)
    fields = {"timeout_s": 2.0}
    quick = [system.submit(loops, value, **fields) for value in (1.0, 2.0)]
    hung = system.submit(loops, ENDLESS, **fields)

    wait_for(lambda: system.task(hung)["attempts"] == 1, timeout_s=30, what="the first attempt")
    wait_for(lambda: "error" in system.task(hung), timeout_s=30, what="its end")
    cancel(system, hung)
    system.until_done(loops, timeout_s=60)

    assert [system.task(one)["status"] for one in quick] == ["completed", "completed"]
    assert system.task(hung)["error"]["code"] == "timed_out"
    assert system.pids("engine", loops) == engine
