"""The broker may be away or forget everything: jobs are in SQL, so they run, once, and are answered."""

import signal
import threading
import time

import pytest

from tests.integration.conftest import OwnSystem
from tests.system import Monitor, System, kill

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

AWAY_S = 30.0


@pytest.mark.timeout(240)
def test_thirty_seconds_without_the_broker_cost_no_lease_and_no_second_run(own_system: OwnSystem):
    system = own_system()
    service = system.run("double", config={"max_batch": 2}, sleep_ms=40)
    system.submit_many(service, [1.0] * 1500)
    (broker,) = system.pids("broker")
    engines = system.pids("engine", service)

    kill(broker, signal.SIGSTOP)
    begun, done, slowest_s = time.monotonic(), [system.states(service).get("completed", 0)], 0.0
    while time.monotonic() - begun < AWAY_S:
        asked = time.monotonic()
        system.submit(service)
        slowest_s = max(slowest_s, time.monotonic() - asked)
        time.sleep(1)
        done.append(system.states(service).get("completed", 0))
    kill(broker, signal.SIGCONT)
    states = system.until_done(service, timeout_s=60)

    thirds = [done[len(done) // 3] - done[0], done[-1] - done[2 * len(done) // 3]]
    print(f"done by the second: {done}; slowest submit {slowest_s * 1000:.0f} ms")
    assert list(states) == ["completed"]
    assert min(thirds) > 20, "work stood still"
    assert slowest_s < 5
    assert {(row.attempt, row.crashes) for row in system.jobs(service)} == {(1, 0)}
    assert system.pids("engine", service) == engines
    assert system.rows("SELECT count(*) FROM attempts WHERE outcome <> 'completed'")[0][0] == 0


def test_a_broker_that_forgets_everything_again_and_again_loses_no_job(system: System):
    service = system.run("double", sleep_ms=5, config={"max_batch": 8})
    is_over = threading.Event()
    flushed = 0

    def flush() -> None:
        nonlocal flushed
        while not is_over.wait(0.2):
            assert system.say("FLUSHALL").startswith(b"+OK")
            flushed += 1

    thread = threading.Thread(target=flush)
    thread.start()
    with Monitor(system) as seen:
        ids = [job_id for _ in range(40) for job_id in system.submit_many(service, [1.0] * 50)]
        states = system.until_done(service, timeout_s=60)
    is_over.set()
    thread.join()

    in_lists = [line for line in seen.lines if 'PUSH"' in line and any(job_id in line for job_id in ids)]
    print(f"{flushed} times emptied, {len(ids)} jobs, {len(seen.messages())} Celery messages")
    assert flushed > 2
    assert states == {"completed": len(ids)}
    assert {row.attempt for row in system.jobs(service)} == {1}
    assert in_lists == []


def test_an_answer_survives_the_loss_of_its_hot_copy(system: System):
    service = system.run("double")
    task = system.submit(service, 21.0)
    before = system.task(task, wait_s=5)

    system.say("FLUSHALL")

    assert before["result"] == {"y": [[42.0] * 4]}
    assert system.task(task) == before
