"""A task's life as its owner sees it, on a whole system: followed, run again, cancelled by the hundred."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.services import wait_for
from tests.system import BASE, System

pytestmark = pytest.mark.e2e


def events(system: System, task_id: str, last: str | None = None) -> Iterator[tuple[str, dict]]:
    """The events of a task, from the front, as they come."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with system.http.stream("GET", f"{BASE}/tasks/{task_id}/events", headers=headers, timeout=30) as response:
        assert response.status_code == 200
        event_id = ""
        for line in response.iter_lines():
            if line.startswith("id: "):
                event_id = line.removeprefix("id: ")
            elif line.startswith("data: "):
                yield event_id, json.loads(line.removeprefix("data: "))


@pytest.mark.timeout(120)
def test_a_task_is_followed_requeued_and_never_shown_with_its_old_result(system: System):
    service = system.run("double", sleep_ms=1500)  # loading measures some such calls, too
    task = system.submit(service, 3.0)

    live = events(system, task)
    first = [next(live)[0]]
    meanwhile = system.task(task)["status"]
    first += [event_id for event_id, _ in live]
    done = system.task(task)
    renewed = system.ask("POST", f"{BASE}/tasks/{task}/requeue")
    shown = system.task(task)
    resumed = list(events(system, task, last=first[-1]))
    again = system.task(task)
    told = system.ask("GET", f"{BASE}/tasks/{task}/attempts")["attempts"]

    assert meanwhile != "completed", "an event goes through the front before the stream ends"
    assert first == ["1.0.pending", "1.1.running", "1.1.completed"]
    assert done["result"] == {"y": [[6.0] * 4]}
    assert (renewed["generation"], renewed["status"]) == (2, "pending")
    assert shown["status"] in ("pending", "running")
    assert "result" not in shown
    assert [event_id for event_id, _ in resumed] == ["2.0.pending", "2.1.running", "2.1.completed"]
    assert resumed[-1][1]["worker"] == again["worker"]
    assert (again["status"], again["generation"], again["result"]) == ("completed", 2, done["result"])
    assert [(one["generation"], one["attempt"], one["outcome"]) for one in told] == [
        (1, 1, "completed"),
        (2, 1, "completed"),
    ]


@pytest.mark.timeout(120)
def test_a_failed_task_is_retried_and_fails_again_with_both_errors_kept(system: System):
    service = system.run("raise")
    task = system.submit(service, 555.0)
    failed = system.task(task, wait_s=20)

    system.ask("POST", f"{BASE}/tasks/{task}/retry")
    again = system.task(task, wait_s=20)
    told = system.ask("GET", f"{BASE}/tasks/{task}/attempts")["attempts"]

    assert (failed["status"], again["status"], again["generation"]) == ("failed", "failed", 2)
    assert [(one["generation"], one["outcome"], one["error"]["code"]) for one in told] == [
        (1, "failed", "engine_failed"),
        (2, "failed", "engine_failed"),
    ]


@pytest.mark.timeout(180)
def test_many_are_cancelled_while_they_are_worked_on_and_who_waits_is_told(system: System):
    service = system.run("double", config={"max_batch": 4}, sleep_ms=200)
    ids = system.submit_many(service, [float(n) for n in range(400)])
    shown = system.task(ids[-1])
    told: list[str] = []
    waiter = threading.Thread(target=lambda: told.append(system.task(ids[-1], wait_s=30)["status"]))
    waiter.start()

    done = system.ask("POST", f"{BASE}/services/{service}/tasks/cancel", {"filter": {"task_ids": ids}})
    waiter.join(timeout=10)
    states = system.until_done(service, timeout_s=20)

    print(f"position {shown['queue_position']}, eta {shown['eta_s']} s; {done}; {states}")
    assert 0 < shown["queue_position"] < len(ids)
    assert shown["eta_s"] > 10
    assert done["complete"]
    assert told == ["cancelled"]
    assert states["cancelled"] >= done["cancelled"] > 300
    assert sum(states.values()) == len(ids)
    wait_for(lambda: finished(system, "cancelled") >= done["cancelled"], timeout_s=10, what="they are counted")


@pytest.mark.timeout(120)
def test_a_task_that_the_sweep_ends_is_told_and_counted(system: System):
    service = system.create(system.register("double"), queue_while_stopped=True)
    before = finished(system, "expired")
    deadline = datetime.now(UTC) + timedelta(seconds=2)

    task = system.submit(service, deadline=deadline.isoformat())
    told = [event_id for event_id, _ in events(system, task)]

    assert told == ["1.0.pending", "1.0.expired"]
    assert system.task(task)["error"]["code"] == "deadline_passed"
    wait_for(lambda: finished(system, "expired") == before + 1, timeout_s=10, what="it is counted")


def finished(system: System, state: str) -> float:
    """What all processes count of that state, however many services."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in system.http.get("/metrics").text.splitlines()
        if line.startswith("penstock_jobs_finished_total{") and f'state="{state}"' in line
    )
