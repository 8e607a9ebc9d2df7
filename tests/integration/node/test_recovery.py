"""The node agent when parts around it fail: the store, an earlier agent, another node; and its metrics."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from inference.core import Core
from inference.errors import StoreUnavailable
from inference.serving import reconcile
from inference.serving.model import Observed
from tests.contract import jobs as job_rows
from tests.integration.node.house import OBEDIENT, STUBBORN, House, command_line, is_alive, running_service
from workers.node_metrics import MetricsServer


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
