"""The node agent with real processes, a real SQLite file, and a stand-in for the worker."""

import dataclasses
import os
import signal
import time
from pathlib import Path

from inference.access.model import Scope
from inference.jobs.model import Claimant
from inference.serving.model import Desired, Observed
from tests.contract import jobs as job_rows
from tests.integration.node.house import STUBBORN, House, environ_of, is_alive, running_service


def claimant() -> Claimant:
    return Claimant(service_id=job_rows.SERVICE, instance_id="", generation=1, worker="w", model_version="1.0.0")


def test_a_wanted_replica_gets_a_process_of_its_own(house: House):
    replica_id = house.want()

    pid = house.until_running(replica_id)

    environ = environ_of(pid)
    assert environ["PENSTOCK_ROLE"] == "worker"
    assert environ["PENSTOCK_SERVICE_ID"] == "s"
    assert environ["PENSTOCK_REPLICA_ID"] == replica_id
    assert environ["PENSTOCK_REPLICA_GENERATION"] == "1"
    assert environ["PENSTOCK_NODE_ID"] == "n1"
    assert environ["PENSTOCK_RUN_ID"] == "run"
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").resolve() == house.core.settings.data_dir
    log = house.core.settings.data_dir / "logs" / "worker-s.0.log"
    house.until(lambda: log.read_text() == "started\n")


def test_a_worker_sees_its_own_gpu_and_no_other(house: House):
    pid = house.until_running(house.want(device="GPU-1234"))

    assert environ_of(pid)["CUDA_VISIBLE_DEVICES"] == "GPU-1234"
    assert environ_of(pid)["PENSTOCK_DEVICE"] == "GPU-1234"


def test_the_workers_of_a_node_are_told_in_a_file(house: House):
    replica_id = house.want()
    pid = house.until_running(replica_id)

    told = house.told()

    assert (told["node_id"], told["metrics_port"], told["pid"]) == ("n1", 1234, os.getpid())
    worker = {"role": "worker", "pid": pid, "service_id": "s", "replica_id": replica_id, "restarts": 0, "device": "cpu"}
    assert told["processes"] == [worker]


def test_a_killed_worker_is_back_at_once_with_a_new_generation(house: House):
    replica_id = house.want()
    pid = house.until_running(replica_id)

    os.kill(pid, signal.SIGKILL)
    house.until(lambda: house.row(replica_id).generation == 2, timeout_s=2)
    again = house.until_running(replica_id)

    assert again != pid
    row = house.row(replica_id)
    assert (row.restarts, row.reason) == (1, "The worker was killed by SIGKILL.")
    assert house.told()["processes"][0]["restarts"] == 1  # type: ignore[index]  # JSON


def test_the_children_of_a_killed_worker_go_with_it(house: House):
    house.script = "sleep 61 & echo $! > child; wait"
    pid = house.until_running(house.want())
    path = house.core.settings.data_dir / "child"
    house.until(lambda: path.exists() and path.read_text())
    child = int(path.read_text())
    assert is_alive(child)

    os.kill(pid, signal.SIGKILL)

    house.until(lambda: not is_alive(child))


def test_the_jobs_of_a_killed_worker_come_back_without_waiting_for_the_lease(house: House):
    replica_id = house.want(service_id=job_rows.SERVICE)
    pid = house.until_running(replica_id)
    store = house.core.jobs.store
    house.core.serving.services.insert(running_service())
    (job_id,) = job_rows.queue(store, job_rows.job())
    instance_id, generation = house.core.serving.instances.open(
        service_id=job_rows.SERVICE, replica_id=replica_id, slot=0, replica_generation=1, pid=pid, lease_s=600
    )
    by = dataclasses.replace(claimant(), instance_id=instance_id, generation=generation)
    assert [job.id for job in store.claim(by, max_rows=8).jobs] == [job_id]

    os.kill(pid, signal.SIGKILL)
    house.until(lambda: house.row(replica_id).generation == 2, timeout_s=2)

    assert store.get(Scope("default"), job_id).state == "pending"
    assert store.claim(by, max_rows=8).jobs == ()


def test_a_model_that_cannot_be_loaded_is_not_started_again(house: House):
    house.script = "exit 3"
    replica_id = house.want()

    house.until(lambda: house.row(replica_id).observed is Observed.FAILED)
    for _ in range(60):
        house.agent.turn()
        time.sleep(0.01)

    row = house.row(replica_id)
    assert (row.generation, row.observed, row.pid) == (1, Observed.FAILED, None)
    assert row.reason is not None
    assert "could not be loaded" in row.reason


def test_the_reason_of_a_failed_load_is_the_workers_own(house: House):
    house.script = "sleep 0.3; exit 3"
    replica_id = house.want()
    house.until_running(replica_id)

    house.core.serving.replicas.note_load_failure(replica_id, 1, reason="no such operator: Foo")

    house.until(lambda: house.row(replica_id).observed is Observed.FAILED)
    assert house.row(replica_id).reason == "no such operator: Foo"


def test_a_crash_loop_slows_down(house: House):
    house.script = "exit 1"
    replica_id = house.want()
    end = time.monotonic() + 2.0

    while time.monotonic() < end:
        house.agent.turn()
        time.sleep(0.01)

    assert 2 <= house.row(replica_id).generation <= 5
    assert house.row(replica_id).reason == "The worker ended by itself with code 1."


def test_a_replica_that_should_stop_is_asked_and_stops(house: House):
    replica_id = house.want()
    pid = house.until_running(replica_id)

    house.core.serving.replicas.set_desired(replica_id, Desired.STOPPED)

    house.until(lambda: house.row(replica_id).observed is Observed.STOPPED)
    assert not is_alive(pid)
    assert house.row(replica_id).restarts == 0
    assert house.told()["processes"] == []


def test_a_worker_that_does_not_stop_when_asked_is_killed_after_the_grace(house: House):
    house.script = STUBBORN
    replica_id = house.want()
    pid = house.until_running(replica_id)
    time.sleep(0.1)
    asked_at = time.monotonic()

    house.core.serving.replicas.set_desired(replica_id, Desired.STOPPED)
    house.until(lambda: house.row(replica_id).observed is Observed.DRAINING)
    house.until(lambda: house.row(replica_id).observed is Observed.STOPPED)

    assert not is_alive(pid)
    assert 0.5 <= time.monotonic() - asked_at < 2


def test_the_worker_of_a_deleted_replica_ends(house: House):
    replica_id = house.want()
    pid = house.until_running(replica_id)

    house.core.serving.replicas.delete(replica_id)

    house.until(lambda: not is_alive(pid))
    house.until(lambda: house.told()["processes"] == [])


def test_a_worker_that_falls_silent_is_replaced(house: House):
    replica_id = house.want()
    pid = house.until_running(replica_id)
    house.core.serving.replicas.report(replica_id, 1, observed=Observed.READY, instances_ready=1)

    house.until(lambda: house.row(replica_id).generation == 2, timeout_s=3)

    assert not is_alive(pid)


def test_a_worker_that_reports_is_left_alone(house: House):
    replica_id = house.want()
    pid = house.until_running(replica_id)
    end = time.monotonic() + 1.5

    while time.monotonic() < end:
        house.core.serving.replicas.report(replica_id, 1, observed=Observed.READY)
        house.agent.turn()
        time.sleep(0.1)

    assert is_alive(pid)
    assert house.row(replica_id).generation == 1
