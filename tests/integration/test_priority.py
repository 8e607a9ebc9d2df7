"""Priority is a head start: an urgent job is in the next batch, however much waits, and however long."""

import pytest

from tests.system import System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WAITING = 2000


@pytest.mark.parametrize("age_s", [0, 600])
def test_priority_9_behind_two_thousand_waiting_jobs_is_in_the_next_batch(system: System, age_s: int):
    service = system.run("double", config={"max_batch": 8}, sleep_ms=300)
    system.submit_many(service, [1.0] * WAITING)
    aged = system.write(
        "UPDATE jobs SET submitted_at = submitted_at - :age, order_key = order_key - :age "
        "WHERE service_id = :s AND state = 'pending'",
        age=age_s,
        s=service,
    )

    urgent = system.submit(service, 9.0, priority=9)
    waiting = system.states(service)["pending"]
    done = system.task(urgent, wait_s=20)

    (mine,) = system.rows("SELECT submitted_at, claimed_at FROM jobs WHERE id = :id", id=urgent)
    between = system.rows(
        "SELECT DISTINCT claimed_at FROM jobs WHERE service_id = :s AND claimed_at > :sent AND claimed_at < :mine",
        s=service,
        sent=mine.submitted_at,
        mine=mine.claimed_at,
    )
    print(f"{waiting} waiting ({aged} aged by {age_s} s), {len(between)} batches before, {done['latency']:.3f} s")
    assert waiting > WAITING * 0.9
    assert done["status"] == "completed"
    assert done["result"] == {"y": [[18.0] * 4]}
    assert len(between) <= 1
