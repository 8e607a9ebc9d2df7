"""The autoscaler through the whole system: a burst is met, work that comes at any moment of a rest is served."""

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from tests.system import BASE, System, seconds_until, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ONE = {"input_data": {"x": [[1.0] * 4]}}


def size(system: System, service: str) -> int:
    return int(system.show(service)["instances_ready"])


@pytest.mark.timeout(90)
def test_a_burst_is_met_with_more_instances_and_its_jobs_run_once(system: System):
    scaling = {"enabled": True, "max_replicas": 1, "max_instances": 3, "objective_s": 1.0, "hold_down_s": 1.0}
    service = system.run("double", config={"max_batch": 1, "auto_scaling": scaling}, sleep_ms=150)

    tasks = system.submit_many(service, range(60))
    grown_s = seconds_until(lambda: size(system, service) == 3, timeout_s=30, what="three instances")
    states = system.until_done(service, timeout_s=60)

    shown = system.ask("GET", f"{BASE}/services/{service}/scaling")
    print(f"60 jobs of 0.15 s: 1 -> 3 instances {grown_s:.1f} s after the burst: {shown['decisions'][-1]['reason']}")
    assert states == {"completed": len(tasks)}
    assert {(row.attempt, row.crashes) for row in system.jobs(service)} == {(1, 0)}
    assert shown["decisions"][-1]["to"] == {"replicas": 1, "instances": 3}
    assert "jobs wait" in shown["decisions"][-1]["reason"]


def observed(system: System, service: str) -> list[str]:
    return [row.observed for row in system.rows("SELECT observed FROM replicas WHERE service_id = :s", s=service)]


def rests(system: System, service: str) -> bool:
    return bool(system.rows("SELECT 1 FROM services WHERE id = :s AND target_replicas = 0", s=service))


STATES: dict[str, Callable[[list[str]], bool]] = {
    "before the drain": lambda seen: seen == ["ready"],
    "draining": lambda seen: seen == ["draining"],
    "unloaded": lambda seen: "draining" not in seen and "ready" not in seen,
    "gone": lambda seen: seen == [],
}


@pytest.mark.timeout(120)
def test_work_that_comes_in_any_state_of_a_rest_is_served(system: System):
    service = system.run("double", config={"max_batch": 1, "idle_ttl_s": 3600}, sleep_ms=200)
    served: dict[str, float] = {}

    for state, is_reached in STATES.items():
        system.until_ready(service)
        last = system.submit(service, 1.0) if state == "draining" else None  # keeps the drain open for a moment
        system.write("UPDATE services SET target_replicas = 0 WHERE id = :s", s=service)
        wait_for(lambda r=is_reached: r(observed(system, service)), timeout_s=15, what=state, every_s=0.005)
        began = time.monotonic()
        predicted: list[dict[str, object]] = []
        asking = threading.Thread(
            target=lambda p=predicted: p.append(system.ask("POST", f"{BASE}/services/{service}/predict", ONE))
        )
        asking.start()
        task = system.submit(service, 2.0)
        answer = system.task(task, wait_s=20)
        asking.join(30)
        served[state] = time.monotonic() - began
        assert answer["result"] == {"y": [[4.0] * 4]}, (state, system.logs())
        assert [one["prediction"] for one in predicted] == [{"y": [[2.0] * 4]}], state
        assert last is None or system.task(last, wait_s=10)["status"] == "completed"
        wait_for(lambda: not rests(system, service), timeout_s=10, what="woken")

    print("served after", {state: f"{taken:.2f} s" for state, taken in served.items()})
    assert {(row.state, row.attempt, row.crashes) for row in system.jobs(service)} == {("completed", 1, 0)}


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_scaled_service_comes_back_to_nothing_and_from_nothing_to_an_answer(system: System):
    scaling = {"enabled": True, "min_replicas": 0, "max_replicas": 1, "objective_s": 2.0, "hold_down_s": 2.0}
    service = system.run("double", config={"auto_scaling": scaling})
    system.task(system.submit(service), wait_s=20)

    rested_s = seconds_until(
        lambda: rests(system, service) and not observed(system, service), timeout_s=120, what="nothing left"
    )
    began = time.monotonic()
    answer = system.task(system.submit(service, 2.0), wait_s=30)
    first_s = time.monotonic() - began

    print(f"at rest after {rested_s:.0f} s; from nothing to an answer in {first_s:.2f} s")
    assert answer["result"] == {"y": [[4.0] * 4]}
    directions = [one["to"]["replicas"] for one in system.ask("GET", f"{BASE}/scaling/decisions")["decisions"]]
    assert all(before != after for before, after in itertools.pairwise(directions))


@pytest.mark.long
@pytest.mark.timeout(120)
def test_an_idle_model_is_unloaded_by_the_beat_job_and_predicts_again(system: System):
    service = system.run("double", config={"idle_ttl_s": 1, "idle_reclaim": "strict"})
    system.ask("POST", f"{BASE}/services/{service}/predict", ONE)

    wait_for(lambda: not observed(system, service), timeout_s=60, what="unloaded")
    shown = system.show(service)
    answer = system.ask("POST", f"{BASE}/services/{service}/predict", ONE)

    assert (shown["status"], shown["replicas"]) == ("running", 0)
    assert "idle_ttl_s 1" in shown["reason"]
    assert answer["prediction"] == {"y": [[2.0] * 4]}
