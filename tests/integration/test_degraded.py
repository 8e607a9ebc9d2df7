"""Broker, cache or database away: what can goes on, what cannot is refused, and all is well again soon after."""

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.settings import StoreSettings
from inference.store.database import Database
from tests.conftest import start
from tests.integration.conftest import OwnSystem
from tests.load import Load, p99_ms
from tests.services import Postgres, Valkey, wait_for
from tests.system import System

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BUSY = 6
"""The issue's figures hold on an idle machine; here others may use it too."""


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """One to kill. Below a folder that other users may enter: it does not run as root."""
    with tempfile.TemporaryDirectory(prefix="penstock-pg-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        server = start(Postgres, Path(name) / "postgres")
        yield server
        server.stop()


def rate(system: System, service: str, seconds: float) -> float:
    """Jobs completed per second."""
    before, begun = system.states(service).get("completed", 0), time.monotonic()
    time.sleep(seconds)
    return (system.states(service).get("completed", 0) - before) / (time.monotonic() - begun)


def back_s(load: Load, system: System, since: float) -> float:
    """Seconds until a task that was submitted after `since` is completed."""

    def is_done() -> bool:
        new = [one.task_id for one in load.between(since, time.monotonic()) if one.status == 202][:50]
        return any(system.rows("SELECT 1 FROM jobs WHERE id = :id AND state = 'completed'", id=one) for one in new)

    wait_for(is_done, timeout_s=60, what="a new task is done", every_s=0.1)
    return time.monotonic() - since


@pytest.mark.timeout(150)
def test_without_the_broker_tasks_are_taken_run_and_waited_for(own_system: OwnSystem, own_valkey: Valkey):
    system = own_system(REDIS_URL=own_valkey.url)
    service = system.run("double", config={"max_batch": 2}, sleep_ms=40)
    quick = system.run("double", config={"max_batch": 8})
    system.submit_many(service, [1.0] * 2000)
    found = {}

    with Load(system, quick) as load:
        wait_for(lambda: len(load.acknowledged) > 20, timeout_s=20, what="load")
        usual = rate(system, service, 3)
        for how in ("stopped", "killed"):
            if how == "stopped":
                own_valkey.process.send(signal.SIGSTOP)
            else:
                own_valkey.process.kill()
            away_at = time.monotonic()
            meanwhile = rate(system, service, 4)
            task = system.submit(quick, 4.0)
            asked = time.monotonic()
            answer = system.task(task, wait_s=20)
            waited_s = time.monotonic() - asked
            told = load.between(away_at, time.monotonic())
            own_valkey.process.send(signal.SIGCONT) if how == "stopped" else own_valkey.start()
            found[how] = (meanwhile, p99_ms(told), waited_s, back_s(load, system, time.monotonic()))
            assert answer["result"] == {"y": [[8.0] * 4]}
            assert {one.status for one in told} == {202}
    counted = system.until_done(quick, timeout_s=60)

    for how, (meanwhile, p99, waited_s, after_s) in found.items():
        print(
            f"broker {how}: {meanwhile:.0f} jobs/s ({usual:.0f} before), submit p99 {p99:.0f} ms, a long poll answered "
            f"after {waited_s:.2f} s, well again after {after_s:.1f} s"
        )
        assert meanwhile > usual * 0.5 / 2
        assert p99 < 500 * BUSY
        assert after_s < 5 * BUSY
    assert counted == {"completed": len(load.acknowledged) + 2}
    assert {row.attempt for row in system.jobs(quick)} == {1}


@pytest.mark.timeout(120)
def test_without_the_cache_answers_are_slower_and_right(
    own_system: OwnSystem, own_valkey: Valkey, shared_valkey: Valkey
):
    system = own_system(REDIS_URL=own_valkey.url, BROKER_URL=shared_valkey.url)
    service = system.run("double", config={"max_batch": 8})
    took = {}

    for state in ("there", "killed", "stopped"):
        if state == "killed":
            own_valkey.process.kill()
        if state == "stopped":
            own_valkey.start()
            own_valkey.process.send(signal.SIGSTOP)
        times = []
        for number in range(5):
            begun = time.monotonic()
            task = system.submit(service, float(number))
            assert system.task(task, wait_s=20)["result"] == {"y": [[2.0 * number] * 4]}
            assert system.task(task)["result"] == {"y": [[2.0 * number] * 4]}
            times.append(time.monotonic() - begun)
        took[state] = sorted(times)[2]
    own_valkey.process.send(signal.SIGCONT)

    print(
        "median from submit to answer with the cache " + ", ".join(f"{s}: {t * 1000:.0f} ms" for s, t in took.items())
    )
    assert {(row.state, row.attempt) for row in system.jobs(service)} == {("completed", 1)}


@pytest.mark.timeout(150)
def test_without_postgresql_submits_are_refused_and_workers_keep_what_they_hold(
    own_system: OwnSystem, own_postgres: Postgres
):
    system = own_system(DATABASE_URL=own_postgres.url, WORKERS__LEASE_S=4, WORKERS__RENEW_S=1)  # leases run out
    system.db.close()
    system.db = Database(own_postgres.url, StoreSettings())
    service = system.run("double", config={"max_batch": 4}, sleep_ms=50)
    long = system.run("hang", config={"max_batch": 1}, hang_s=3)
    held = system.submit(long, 777.0)
    engines = system.pids("engine")

    with Load(system, service) as load:
        wait_for(lambda: len(load.acknowledged) > 20, timeout_s=20, what="load")
        wait_for(lambda: system.states(long).get("running"), timeout_s=20, what="a long call")
        away_at = time.monotonic()
        own_postgres.process.kill()
        time.sleep(8)
        ill = system.http.get("/readyz")
        time.sleep(2)
        told = load.between(away_at + 0.5, time.monotonic())
        own_postgres.process.start()
        wait_for(own_postgres._accepts, timeout_s=30, what="PostgreSQL again")
        system.db.engine.dispose()
        after_s = back_s(load, system, time.monotonic())
        wait_for(lambda: system.http.get("/readyz").status_code == 200, timeout_s=30, what="ready")
    system.until_done(service, timeout_s=60)
    system.until_done(long, timeout_s=60)

    there = {row.id: row for row in system.jobs(service)}
    refused = [one for one in told if one.status == 503]
    slowest_s = max((one.took_s for one in refused), default=0.0)
    print(
        f"PostgreSQL away for 10 s: {len(refused)} submits refused (slowest after {slowest_s:.1f} s), well again after "
        f"{after_s:.1f} s; answers {load.statuses()}; /readyz {ill.text}"
    )
    assert refused
    assert {one.status for one in told} == {503}
    assert {int(one.retry_after) >= 1 for one in refused} == {True}
    assert ill.status_code == 503
    assert "store" in ill.json()["details"]["since"]
    assert [task for task in load.acknowledged if task not in there or there[task].state != "completed"] == []
    assert [(row.id, row.state) for row in system.jobs(long)] == [(held, "completed")]
    assert {(row.attempt, row.crashes) for row in [*there.values(), *system.jobs(long)]} == {(1, 0)}
    assert system.pids("engine") == engines
    assert after_s < 5 * BUSY


@pytest.mark.timeout(120)
def test_a_stopped_holder_of_the_write_gate_costs_refusals_and_nothing_else(own_system: OwnSystem):
    system = own_system()
    service = system.run("double", config={"max_batch": 4}, sleep_ms=20)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with system.db.write():
            held.set()
            let_go.wait(60)

    with Load(system, service) as load:
        wait_for(lambda: len(load.acknowledged) > 20, timeout_s=20, what="load")
        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(20)
        held_at = time.monotonic()
        time.sleep(8)
        told = load.between(held_at, time.monotonic() - 3)
        let_go.set()
        holder.join()
        after_s = back_s(load, system, time.monotonic())
    system.until_done(service, timeout_s=60)

    there = {row.id: row for row in system.jobs(service)}
    print(f"write gate held for 8 s: {load.statuses()}, well again after {after_s:.1f} s")
    assert {one.status for one in told} == {503}
    assert all(one.retry_after for one in told)
    assert [task for task in load.acknowledged if task not in there or there[task].state != "completed"] == []
    assert {row.attempt for row in there.values()} == {1}
    assert after_s < 5 * BUSY
