"""A service without room, and the one that answers for it, in a whole system; and what both cost."""

import pytest

from tests.integration.conftest import OwnSystem
from tests.services import wait_for
from tests.system import BASE, System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BODY = {"input_data": {"x": [[1, 2, 3, 4]]}}
ON_A_CARD = {"resource_requirements": {"gpu": 1}}


def test_a_lighter_service_answers_until_there_is_room(own_system: OwnSystem):
    system = own_system(COSTS__SAMPLE_S=1, SERVING__FALLBACK_AFTER_S=1)
    light = system.run("double")
    heavy = system.create(system.register("double"), **ON_A_CARD, fallback_service_id=light)
    system.begin(heavy)
    waiting = system.submit_many(heavy, [1.0] * 20)
    wait_for(lambda: system.show(heavy).get("suggested_action"), timeout_s=10, what="a reason")

    task = wait_for(lambda: answered(system, heavy, light), timeout_s=10, what="an answer by the lighter one")
    prediction = system.http.post(f"{BASE}/services/{heavy}/predict", json=BODY).json()
    handed = [system.task(one, wait_s=20) for one in waiting]
    system.ask("PATCH", f"{BASE}/services/{heavy}", {"config": {"resource_requirements": {"gpu": 0}}})
    system.until_ready(heavy)
    wait_for(lambda: not answered(system, heavy, light), timeout_s=10, what="work of its own")

    by = {"service_id": light, "model_version": "1.0.0"}
    assert (task["service_id"], task["result"]) == (heavy, {"y": [[2.0, 4.0, 6.0, 8.0]]})
    assert (prediction["prediction"], prediction["answered_by"]) == (task["result"], {"service_id": light})
    assert [(one["status"], one["service_id"], one["answered_by"]) for one in handed] == [("completed", heavy, by)] * 20
    own = system.task(system.submit(heavy), wait_s=10)
    assert (own["status"], "answered_by" in own) == ("completed", False)
    wait_for(lambda: {light, heavy} <= held(system), timeout_s=10, what="a sample of what both hold")
    cost = system.ask("GET", f"{BASE}/tasks/{task['task_id']}?cost=true")["cost"]
    assert cost["gpu_s"] == 0 < cost["cpu_s"]


def answered(system: System, heavy: str, light: str) -> "dict | None":
    """A new task of the one, if the other has taken it."""
    task_id = system.http.post(f"{BASE}/services/{heavy}/tasks", json=BODY).json()["task_id"]
    shown = system.ask("GET", f"{BASE}/tasks/{task_id}")
    if shown.get("answered_by", {}).get("service_id") != light:
        return None
    return system.task(task_id, wait_s=10)


def held(system: System) -> set[str]:
    return {one["service_id"] for one in system.ask("GET", f"{BASE}/costs")["costs"] if one["held_s"] > 0}
