"""How far a task is, from its engine to its owner, through a whole system."""

import json
from pathlib import Path

import pytest

from tests.services import wait_for
from tests.system import BASE, System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_what_an_engine_reports_is_shown_while_the_task_runs_and_gives_it_no_more_time(system: System, tmp_path: Path):
    gate = tmp_path / "go on"
    service = system.run("reports", config={"max_attempts": 1}, when_exists=str(gate))

    task_id = system.submit(service, 333.0)
    told = []
    with system.http.stream("GET", f"{BASE}/tasks/{task_id}/events", timeout=30) as response:
        for line in response.iter_lines():
            told.append(line)
            if line == "event: progress":
                shown = system.task(task_id)
                gate.touch()
    done = system.task(task_id)
    gate.unlink()
    late = system.submit(service, 333.0, timeout_s=1.0)
    over = system.task(late, wait_s=20)

    assert shown["status"] == "running"
    assert (shown["progress"]["fraction"], shown["progress"]["message"]) == (0.25, "step 1 of 4")
    data = json.loads(told[told.index("event: progress") + 1].removeprefix("data: "))
    assert (data["fraction"], data["message"]) == (0.25, "step 1 of 4")
    assert [line for line in told if line.startswith("id: ")][-1] == "id: 1.1.completed"
    assert (done["status"], "progress" in done) == ("completed", False)
    wait_for(lambda: system.say("EXISTS", f"pst:progress:{task_id}") == b":0\r\n", timeout_s=5, what="forgotten")
    assert over["status"] in ("failed", "dead")
    assert over["error"]["code"] == "instance_lost"  # it went on reporting, and was ended with its process
