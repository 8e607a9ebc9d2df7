"""A node agent on a real SQLite file, with a stand-in for the worker, and looks at real processes."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from inference.core import Core
from inference.ids import new_id
from inference.serving.model import Desired, Observed, Replica, Service, ServiceConfig, ServiceState
from tests.contract import jobs as job_rows
from workers.node import Agent

# Bash, since it starts in 2 ms; a trap runs only when `sleep` ends, hence `wait`.
OBEDIENT = "trap 'exit 0' TERM; echo started; sleep 60 & wait"
STUBBORN = "trap '' TERM; while true; do sleep 60; done"


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
