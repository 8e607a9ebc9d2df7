"""A worker that sleeps past its lease: its jobs complete elsewhere, and what it finishes late counts for nothing."""

import signal
import time

import pytest

from tests.integration.conftest import OwnSystem
from tests.system import kill, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.timeout(180)
def test_a_stopped_workers_jobs_complete_elsewhere_and_its_late_finish_changes_nothing(own_system: OwnSystem):
    system = own_system(WORKERS__LEASE_S=3, WORKERS__RENEW_S=1)
    service = system.run("double", config={"replicas": 2, "max_batch": 4}, sleep_ms=1500)
    victims = system.pids("worker", service)[:1]
    victims += children_of(victims[0])
    ids = system.submit_many(service, [float(n) for n in range(24)])
    engine = next(pid for pid in victims if pid in system.pids("engine", service))

    def held() -> list[str]:
        return [
            row.id
            for row in system.rows(
                "SELECT j.id FROM jobs j JOIN instances i ON i.id = j.instance_id "
                "WHERE j.state = 'running' AND i.pid = :p",
                p=engine,
            )
        ]

    wait_for(held, timeout_s=15, what="the victim has jobs")
    for pid in victims:
        kill(pid, signal.SIGSTOP)
    stopped_with = held()
    begun = time.monotonic()
    wait_for(lambda: not set(held()) & set(stopped_with), timeout_s=20, what="its jobs were taken back")
    back_s = time.monotonic() - begun
    wait_for(lambda: all_done(system, stopped_with), timeout_s=30, what="its jobs completed elsewhere")
    before = finals(system, stopped_with)
    for pid in victims:
        kill(pid, signal.SIGCONT)
    time.sleep(4)
    after = finals(system, stopped_with)
    states = system.until_done(service, timeout_s=60)

    fenced = system.metric("penstock_fenced_total", workers=True)
    print(f"{len(stopped_with)} jobs held, taken back after {back_s:.1f} s, {fenced:.0f} late finishes fenced")
    assert stopped_with
    assert after == before
    assert {attempt for _, attempt, _, _ in after} == {2}
    assert states == {"completed": len(ids)}
    outcomes = system.rows("SELECT job_id, attempt, outcome FROM attempts ORDER BY job_id, attempt")
    assert {row.outcome for row in outcomes if row.job_id in stopped_with and row.attempt == 1} == {"lost"}
    assert fenced >= 1, f"the late finish was not felt\n{system.logs()}"


def children_of(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def finals(system, ids: list[str]) -> list[tuple[str, int, str, float]]:
    rows = [system.rows("SELECT state, attempt, worker, completed_at FROM jobs WHERE id = :id", id=i)[0] for i in ids]
    return [(row.state, row.attempt, row.worker, row.completed_at) for row in rows]


def all_done(system, ids: list[str]) -> bool:
    return {state for state, *_ in finals(system, ids)} == {"completed"}
