"""A worker grows and shrinks while it runs: more children load beside the first, and surplus ones leave unkilled."""

import pytest

from tests.system import BASE, System, seconds_until, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def scale(system: System, service: str, instances: int) -> None:
    system.ask("POST", f"{BASE}/services/{service}/scale", {"replicas": 1, "instances": instances})


def is_of_size(system: System, service: str, instances: int) -> bool:
    is_told = system.show(service)["instances_ready"] == instances
    return is_told and len(system.pids("engine", service)) == instances


@pytest.mark.timeout(90)
def test_three_busy_children_become_one_and_no_running_job_is_ended_for_it(system: System):
    service = system.run("double", config={"instances": 1, "max_batch": 1}, sleep_ms=600)
    workers = system.pids("worker", service)
    scale(system, service, 3)
    grown_s = seconds_until(lambda: is_of_size(system, service, 3), timeout_s=30, what="three instances")
    tasks = system.submit_many(service, range(15))
    wait_for(lambda: system.states(service).get("running", 0) == 3, timeout_s=10, what="three busy children")

    scale(system, service, 1)
    shrunk_s = seconds_until(lambda: is_of_size(system, service, 1), timeout_s=30, what="one instance")
    states = system.until_done(service, timeout_s=60)

    print(f"1 -> 3 instances in {grown_s:.1f} s, 3 busy ones -> 1 in {shrunk_s:.1f} s")
    assert states == {"completed": len(tasks)}
    assert {(row.attempt, row.crashes) for row in system.jobs(service)} == {(1, 0)}
    assert system.pids("worker", service) == workers
    assert system.show(service)["revision"] == 1


@pytest.mark.timeout(90)
def test_a_worker_shrinks_and_grows_again_while_jobs_keep_coming(system: System):
    service = system.run("double", config={"instances": 2, "max_batch": 4}, sleep_ms=20)
    ids: list[str] = []

    for size in (1, 3, 1, 2):
        scale(system, service, size)
        wait_for(
            lambda s=size: ids.extend(system.submit_many(service, range(10))) or is_of_size(system, service, s),
            timeout_s=30,
            what=f"{size} instances",
            every_s=0.1,
        )
    states = system.until_done(service, timeout_s=30)

    assert states == {"completed": len(ids)}
    assert {(row.attempt, row.crashes) for row in system.jobs(service)} == {(1, 0)}
