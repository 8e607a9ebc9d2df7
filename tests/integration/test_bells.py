"""Doorbells cost time or nothing: forged, doubled and late ones change no job, and a stream needs hardly any."""

import codecs
import re
import signal
import time

import pytest

from inference.settings import load
from tests.integration.conftest import OwnSystem
from tests.system import Monitor, System, kill, wait_for
from workers.beat import SCHEDULE
from workers.publisher import Sender
from workers.queues import DRAIN_TASK, service_queue

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BEAT_TASKS = [str(entry["task"]) for entry in SCHEDULE.values()]
STREAM, CHUNK, PAUSE_S = 10_000, 50, 0.05


def empty_claims(system: System) -> float:
    return system.metric("penstock_empty_claims_total", workers=True)


def queue_is_empty(system: System, service: str) -> bool:
    return all(b":0\r\n" in system.say("LLEN", key) for key in queue_keys(service))


def queue_keys(service: str) -> list[str]:
    """Celery keeps one list per priority on Redis."""
    return [service_queue(service), *(f"{service_queue(service)}\x06\x16{step}" for step in range(1, 10))]


def test_a_forged_a_doubled_and_a_late_doorbell_change_nothing(system: System):
    service = system.run("double")
    with Monitor(system) as seen:
        first = system.submit(service)
        system.task(first, wait_s=5)
        bell = wait_for(seen.messages, timeout_s=5, what="a doorbell")[0]
    time.sleep(3)  # the drain has let its slot go: the bell is late now
    before = (system.rows("SELECT id, state, attempt FROM jobs"), empty_claims(system))
    sender = Sender(load({"PENSTOCK_BROKER_URL": f"redis://127.0.0.1:{system.redis_port}/0"}))

    for token in ("", "forged", "0" * 16):
        sender.send(service_queue(service), DRAIN_TASK, [service, 0, token])
    sender.drop()
    for _ in range(3):
        push(system, bell)
    wait_for(lambda: queue_is_empty(system, service), timeout_s=10, what="every doorbell taken")
    time.sleep(1)

    claims = empty_claims(system) - before[1]
    print(f"6 false doorbells, {claims:.0f} empty claims")
    assert system.rows("SELECT id, state, attempt FROM jobs") == before[0]
    assert claims <= 6
    assert system.task(system.submit(service, 2.0), wait_s=5)["result"] == {"y": [[4.0] * 4]}


def push(system: System, line: str) -> None:
    """Sends again what MONITOR has shown."""
    words = [codecs.decode(word, "unicode_escape") for word in re.findall(r'"((?:[^"\\]|\\.)*)"', line)]
    assert system.say(*words).startswith(b":")


def test_doorbells_for_a_stranger_are_ignored(system: System):
    one, other = system.run("double"), system.run("double")
    sender = Sender(load({"PENSTOCK_BROKER_URL": f"redis://127.0.0.1:{system.redis_port}/0"}))

    sender.send(service_queue(one), DRAIN_TASK, [other, 0, "token"])
    sender.drop()
    wait_for(lambda: queue_is_empty(system, one), timeout_s=10, what="the doorbell taken")

    assert system.task(system.submit(one, 3.0), wait_s=5)["status"] == "completed"
    assert system.task(system.submit(other, 3.0), wait_s=5)["status"] == "completed"


def test_ten_thousand_jobs_in_a_steady_stream_cause_fewer_than_fifty_messages(system: System):
    service = system.run("double")

    with Monitor(system) as seen:
        for _ in range(STREAM // CHUNK):
            system.submit_many(service, [1.0] * CHUNK)
            time.sleep(PAUSE_S)
        states = system.until_done(service, timeout_s=60)
        messages = [line for line in seen.messages() if service in line]

    print(f"{STREAM} jobs, {len(messages)} Celery messages")
    assert states == {"completed": STREAM}
    assert 0 < len(messages) < 50


@pytest.mark.timeout(200)
@pytest.mark.parametrize("idle_s", [15.0, pytest.param(60.0, marks=pytest.mark.long)])
def test_an_idle_system_sends_no_message_but_those_of_beat(system: System, idle_s: float):
    service = system.run("double")
    system.task(system.submit(service), wait_s=5)
    time.sleep(5)

    with Monitor(system) as seen:
        time.sleep(idle_s)

    beats = [line for line in seen.messages() if any(task in line for task in BEAT_TASKS)]
    print(f"{idle_s:.0f} s idle: {len(seen.messages())} messages, {len(seen.lines)} commands of any kind")
    assert len(seen.lines) > 0, "the monitor saw nothing at all"
    assert len(seen.messages()) == len(beats)
    assert len(beats) <= idle_s / 10 + idle_s / 60 + 3


@pytest.mark.timeout(120)
def test_a_batch_that_polling_began_is_finished_before_a_worker_ends(own_system: OwnSystem):
    system = own_system()
    service = system.run("double", config={"max_batch": 2}, sleep_ms=1500)
    system.say("HSET", f"pst:slots:{service}", "0", "stranger|9999999999")
    system.submit_many(service, [1.0] * 4)
    wait_for(lambda: system.states(service).get("running"), timeout_s=15, what="polling found the jobs")
    (worker,) = system.pids("worker", service)

    kill(worker, signal.SIGTERM)
    wait_for(lambda: worker not in system.pids("worker", service), timeout_s=15, what="the worker ended")
    wait_for(lambda: "running" not in system.states(service), timeout_s=15, what="its jobs are settled")

    assert {row.crashes for row in system.jobs(service)} == {0}
    assert system.states(service)["completed"] >= 1


def test_jobs_are_heard_while_somebody_who_died_still_holds_the_slot(system: System):
    service = system.run("double")
    system.say("HSET", f"pst:slots:{service}", "0", "gone|9999999999")
    system.task(system.submit(service), wait_s=10)

    began = time.monotonic()
    states = {system.task(system.submit(service), wait_s=10)["status"] for _ in range(20)}

    assert states == {"completed"}
    assert time.monotonic() - began < 20, "each of them waited until the queue was looked at"
