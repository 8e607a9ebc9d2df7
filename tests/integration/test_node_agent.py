"""The node agent with real processes, a real SQLite file, and a stand-in for the worker."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inference import wiring
from inference.core import Core
from inference.errors import StoreUnavailable
from inference.ids import new_id
from inference.jobs.model import Claimant
from inference.serving import reconcile
from inference.serving.model import Desired, Observed, Replica, Service, ServiceConfig, ServiceState
from inference.settings import ServingSettings, Settings, WorkersSettings, load
from inference.store import migrate
from inference.store.database import Database
from tests.contract import jobs as job_rows
from workers.node import Agent
from workers.node_metrics import MetricsServer

# Bash, since it starts in 2 ms; a trap runs only when `sleep` ends, hence `wait`.
OBEDIENT = "trap 'exit 0' TERM; echo started; sleep 60 & wait"
STUBBORN = "trap '' TERM; while true; do sleep 60; done"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    database = Database(f"sqlite:///{tmp_path}/penstock.db", load({}).store)
    migrate.upgrade(database)
    database.close()
    quick = load({"PENSTOCK_DATA_DIR": str(tmp_path)})
    return dataclasses.replace(
        quick,
        workers=WorkersSettings(stop_grace_s=0.5),
        serving=ServingSettings(load_deadline_s=0.5, replica_silence_s=0.6, restart_backoff_cap_s=1.0),
    )


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    core = wiring.build(settings)
    yield core
    core.close()


class House:
    """A core, an agent on it, and a way to wait."""

    def __init__(self, core: Core, script: str, *, node_id: str = "n1") -> None:
        self.core, self.script = core, script
        self.agent = self.fresh_agent(node_id)

    def fresh_agent(self, node_id: str) -> Agent:
        return Agent(
            self.core,
            node_id=node_id,
            host="h",
            environ={"PATH": os.environ["PATH"], "PENSTOCK_RUN_ID": "run"},
            inventory={"cpus": 2},
            command=lambda _replica, _host: ["bash", "-c", self.script],
            metrics_port=1234,
        )

    def want(self, *, device: str = "cpu", service_id: str = "s") -> str:
        replica = Replica(
            id=new_id(),
            service_id=service_id,
            ordinal=0,
            node_id="n1",
            device=device,
            desired=Desired.RUNNING,
            observed=Observed.PENDING,
            generation=0,
            revision=1,
            instances=1,
            instances_ready=0,
            load_failures=0,
            restarts=0,
        )
        self.core.serving.replicas.insert(replica)
        return replica.id

    def row(self, replica_id: str) -> Replica:
        row = self.core.serving.replicas.get(replica_id)
        assert row is not None
        return row

    def until(self, is_so: Callable[[], object], *, timeout_s: float = 5.0) -> None:
        end = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < end, "not in time"
            self.agent.turn()
            time.sleep(0.01)

    def until_running(self, replica_id: str) -> int:
        self.until(lambda: self.row(replica_id).observed is Observed.STARTING and self.row(replica_id).pid)
        pid = self.row(replica_id).pid
        assert pid is not None
        self.until(lambda: "bash" in command_line(pid))
        return pid

    def told(self) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.core.settings.data_dir / "run" / "node.json").read_text())
        return content


@pytest.fixture
def house(core: Core) -> Iterator[House]:
    house = House(core, OBEDIENT)
    yield house
    house.agent.close()


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def environ_of(pid: int) -> dict[str, str]:
    raw = Path(f"/proc/{pid}/environ").read_text()
    return dict(item.split("=", 1) for item in raw.split("\0") if "=" in item)


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

    assert store.get("default", job_id).state == "pending"
    assert store.claim(by, max_rows=8).jobs == ()


def running_service() -> Service:
    return Service(
        id=job_rows.SERVICE,
        tenant_id="default",
        name="s",
        model_id="m",
        state=ServiceState.RUNNING,
        config=ServiceConfig(),
        revision=1,
        created_at=0.0,
        updated_at=0.0,
    )


def claimant() -> Claimant:
    return Claimant(service_id=job_rows.SERVICE, instance_id="", generation=1, worker="w", model_version="1.0.0")


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


class Away:
    """A store that is away while `is_away`."""

    def __init__(self, real: object) -> None:
        self._real, self.is_away = real, False

    def __getattr__(self, name: str) -> object:
        if self.is_away:
            raise StoreUnavailable("away", part="sql")
        return getattr(self._real, name)


def test_an_outage_of_the_store_costs_no_worker(core: Core):
    replicas = Away(core.serving.replicas)
    shaky = dataclasses.replace(core, serving=dataclasses.replace(core.serving, replicas=replicas))  # type: ignore[arg-type]  # a stand-in
    house = House(shaky, OBEDIENT)
    replica_id = house.want()
    pid = house.until_running(replica_id)
    core.serving.replicas.report(replica_id, 1, observed=Observed.READY)
    house.agent.turn()

    replicas.is_away = True
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        house.agent.turn()
        time.sleep(0.05)
    replicas.is_away = False
    house.agent.turn()
    house.agent.turn()

    assert is_alive(pid)
    assert house.row(replica_id).generation == 1
    house.agent.close()


def test_a_worker_that_died_while_the_store_was_away_is_settled_afterwards(core: Core):
    instances = Away(core.serving.instances)
    shaky = dataclasses.replace(core, serving=dataclasses.replace(core.serving, instances=instances))  # type: ignore[arg-type]  # a stand-in
    house = House(shaky, OBEDIENT)
    replica_id = house.want()
    pid = house.until_running(replica_id)

    instances.is_away = True
    os.kill(pid, signal.SIGKILL)
    for _ in range(10):
        house.agent.turn()
        time.sleep(0.01)
    assert house.row(replica_id).generation == 1
    instances.is_away = False

    house.until(lambda: house.row(replica_id).generation == 2)
    assert house.row(replica_id).restarts == 1
    house.agent.close()


def test_closing_ends_all_workers_and_leaves_them_to_be_started_again(house: House):
    first, second = house.want(), house.want(service_id="s2")
    pids = [house.until_running(first), house.until_running(second)]

    house.agent.close()

    assert not any(map(is_alive, pids))
    assert [house.row(one).observed for one in (first, second)] == [Observed.PENDING] * 2
    assert house.row(first).restarts == 0
    assert house.told()["processes"] == []


def test_closing_does_not_wait_longer_than_the_grace(house: House):
    house.script = STUBBORN
    pid = house.until_running(house.want())
    time.sleep(0.1)
    began = time.monotonic()

    house.agent.close()

    assert not is_alive(pid)
    assert time.monotonic() - began < 1.5


def test_a_new_agent_ends_what_a_killed_one_left_and_starts_anew(house: House):
    replica_id = house.want()
    generation = house.core.serving.replicas.begin(replica_id)
    house.core.serving.replicas.report(replica_id, generation, observed=Observed.READY, instances_ready=1, pid=1)
    house.core.serving.instances.open(
        service_id="s", replica_id=replica_id, slot=0, replica_generation=generation, pid=1, lease_s=600
    )
    ours = {"PENSTOCK_ROLE": "worker", "PENSTOCK_DATA_DIR": str(house.core.settings.data_dir)}
    leftover = sleeper(ours | {"PENSTOCK_NODE_ID": "n1"})
    stranger = sleeper(ours | {"PENSTOCK_NODE_ID": "n2"})

    house.agent.turn()

    assert leftover.wait(2) == -signal.SIGKILL
    assert stranger.poll() is None
    assert house.row(replica_id).generation == 2
    assert house.core.serving.instances.end_replica(replica_id) == 0
    stranger.kill()
    stranger.wait()


def sleeper(environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], **environ})
    while "sleep" not in command_line(process.pid):
        time.sleep(0.005)
    return process


def test_a_node_is_alive_while_its_agent_turns(house: House):
    house.agent.turn()

    (node,) = house.core.serving.nodes.list(silence_s=5)

    assert (node.id, node.is_alive, node.inventory) == ("n1", True, {"cpus": 2})


def test_the_replicas_of_a_silent_node_begin_on_another_one(core: Core, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("workers.node.HEARTBEAT_S", 0.1)
    quick = dataclasses.replace(core.serving, settings=dataclasses.replace(core.serving.settings, node_silence_s=1.0))
    shared = dataclasses.replace(core, serving=quick)
    silent, alive = House(shared, OBEDIENT), House(shared, OBEDIENT, node_id="n2")
    core.serving.services.insert(running_service())
    silent.agent.turn()
    reconcile.run(quick)
    (before,) = core.serving.replicas.of_service(job_rows.SERVICE)
    old_pid = silent.until_running(before.id)

    alive.until(lambda: reconcile.run(quick), timeout_s=5)

    (after,) = core.serving.replicas.of_service(job_rows.SERVICE)
    assert (before.node_id, after.node_id) == ("n1", "n2")
    assert is_alive(alive.until_running(after.id))
    silent.until(lambda: not is_alive(old_pid))
    silent.agent.close()
    alive.agent.close()


def test_the_metrics_of_processes_are_added_up_and_served(tmp_path: Path):
    folder = tmp_path / "metrics"
    server = MetricsServer(folder, host="127.0.0.1", port=0)
    count = "from prometheus_client import Counter; Counter('jobs', 'done').inc(2)"
    for _ in range(2):
        environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        subprocess.run([sys.executable, "-c", count], env=environ, check=True)

    text = get(server.port, "/metrics")

    assert "jobs_total 4.0" in text
    assert "penstock_machine_memory_bytes" in text
    assert get(server.port, "/healthz") == '{"status":"ok"}'
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        get(server.port, "/nothing")
    refused.value.close()
    server.close()


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        body: bytes = answer.read()
        return body.decode()
