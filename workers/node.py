"""The node agent: turns the replica rows of this host into worker processes, and tells what became of them."""

import contextlib
import hashlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from inference import entry, lifeline
from inference.clock import monotonic_s
from inference.core import Core
from inference.errors import PenstockError
from inference.jobs import recover
from inference.serving.model import Desired, Observed, Replica
from inference.settings import Settings
from workers import node_metrics, pulse
from workers.alarm import Alarm, end_quietly
from workers.launching import cradle
from workers.launching.folder import write_json
from workers.launching.nursery import Nursery
from workers.launching.rotate import Sweep
from workers.node_decide import Figures, Step, decide, limits, restart_delay_s
from workers.node_leases import is_taken, owner_of, release_orphans
from workers.node_process import (
    LOAD_FAILED,
    WORKER,
    Command,
    WorkerProcess,
    environment,
    explain_exit,
    leftovers,
    metrics_folder,
    named,
    worker_command,
)
from workers.senses import Senses

log = structlog.get_logger(__name__)

HEARTBEAT_S = 3.0
LOOK_AGAIN_S = 0.25
LOAD_FAILED_REASON = "The model could not be loaded; the log of the worker says why."


@dataclass(slots=True, kw_only=True)
class Charge:
    """A replica in the agent's hands. Times are monotonic; `seen_report` is the row's, only compared for change."""

    row: Replica
    process: WorkerProcess | None = None
    generation: int = 0
    restarts: int = 0
    delay_s: float = 0.0
    start_at: float = 0.0
    asked_at: float | None = None
    seen_report: float = 0.0
    seen_at: float = 0.0
    told_instances: int = 0
    is_ours: bool = True


class Agent:
    """Owns the workers of one node. Use it from the main thread: their death signal hangs on that thread."""

    def __init__(
        self,
        core: Core,
        *,
        node_id: str,
        host: str,
        environ: Mapping[str, str],
        inventory: Mapping[str, Any] | None = None,
        command: Command = worker_command,
        metrics_port: int = 0,
        nursery: Nursery | None = None,
        senses: Senses | None = None,
    ) -> None:
        """Without `senses` the node's row says `inventory`, and nothing of devices and usage."""
        self._core = core
        self._settings = core.settings
        self._ports = core.serving
        self._node_id, self._host = node_id, host
        self._environ, self._inventory, self._command = environ, inventory or {}, command
        self._metrics_port, self._nursery, self._senses = metrics_port, nursery, senses
        self._limits = limits(core.settings)
        self._metrics = metrics_folder(core.settings)
        self._charges: dict[str, Charge] = {}
        self._alarm = Alarm()
        self._sweep = Sweep(core.settings.data_dir / "logs", f"{WORKER}-*.log", core.settings.logs)
        self._is_stopping = self._is_recovered = self._is_store_away = False
        self._beat_at = 0.0
        self._told: object = None

    def run(self) -> None:
        """Works until `stop`, then ends every worker within the grace and a second."""
        while not self._is_stopping:
            self.turn()
            self._alarm.wait(self._settings.serving.node_poll_s)
        self.close()

    def stop(self, *_: object) -> None:
        """Safe in a signal handler."""
        self._is_stopping = True
        self._alarm.ring()

    def wake(self, *_: object) -> None:
        """Looks now: a child has ended. Safe in a signal handler."""
        self._alarm.ring()

    def turn(self) -> None:
        """One look at rows and processes. Waits for the store, if it is away, without harm to what runs."""
        try:
            self._beat()
            if not self._is_recovered:
                self._recover()
            rows = self._ports.replicas.of_node(self._node_id)
            now = monotonic_s()
            if self._is_store_away:
                self._forgive(now)
            self._attend(rows, now)
        except PenstockError as error:
            if not self._is_store_away:
                log.warning("store_lost", error=error.message)
            self._is_store_away = True
        except Exception:
            # The outer edge of the loop: a fault in one turn must not cost the workers their agent.
            log.exception("node_turn_failed")
        if self._nursery is not None:
            lifeline.reap_orphans({charge.process.pid for charge in self._charges.values() if charge.process})
        self._tell()
        self._sweep.turn()

    def close(self) -> None:
        """Ends all workers, gives their jobs back, and leaves the replicas to be started again."""
        for charge in self._charges.values():
            if charge.process is not None and charge.asked_at is None:
                charge.process.terminate()
        deadline = monotonic_s() + self._limits.stop_grace_s
        while monotonic_s() < deadline and self._running():
            self._alarm.wait(0.05)
        for charge in self._running():
            log.warning("worker_killed", **named(charge.row), cause="stop_grace_over")
        for charge in self._charges.values():
            with contextlib.suppress(PenstockError):
                self._put_down(charge)
        with contextlib.suppress(PenstockError):
            self._ports.nodes.leave(self._node_id)
        self._tell()

    def _running(self) -> list[Charge]:
        return [c for c in self._charges.values() if c.process is not None and c.process.exit_code() is None]

    def _put_down(self, charge: Charge) -> None:
        if charge.process is None:
            return
        charge.process.put_down()
        charge.process = None
        self._ports.instances.end_replica(charge.row.id)
        is_stopped = charge.row.desired is Desired.STOPPED
        observed = Observed.STOPPED if is_stopped else Observed.PENDING
        self._ports.replicas.report(charge.row.id, charge.generation, observed=observed)

    def _beat(self) -> None:
        now = monotonic_s()
        if now - self._beat_at < HEARTBEAT_S:
            return
        pids = {charge.row.id: charge.process.pid for charge in self._running() if charge.process}
        told = self._senses.told(pids) if self._senses else {"inventory": self._inventory}
        self._ports.nodes.beat(self._node_id, host=self._host, **told)
        release_orphans(self._ports.leases, self._node_id)
        self._beat_at = now

    def _recover(self) -> None:
        """What an agent that was killed left: its processes go, its rows begin anew, its jobs come back."""
        for pid in leftovers(self._settings.data_dir, self._node_id):
            log.warning("leftover_killed", pid=pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node_metrics.empty(self._metrics)
        for row in self._ports.replicas.of_node(self._node_id):
            if row.observed in (Observed.STOPPED, Observed.FAILED):
                continue
            self._ports.instances.end_replica(row.id)
            observed = Observed.PENDING if row.desired is Desired.RUNNING else Observed.STOPPED
            self._ports.replicas.report(row.id, row.generation, observed=observed)
        recover.sweep(self._core.jobs, rings=False)
        self._is_recovered = True

    def _forgive(self, now: float) -> None:
        """Nobody could report while the store was away: the time of silence begins anew."""
        log.info("store_back")
        self._is_store_away = False
        for charge in self._charges.values():
            charge.seen_at = now

    def _attend(self, rows: Sequence[Replica], now: float) -> None:
        by_id = {row.id: row for row in rows}
        for row in rows:
            charge = self._charges.setdefault(row.id, Charge(row=row, restarts=row.restarts))
            charge.row = row
            if row.reported_at != charge.seen_report:
                charge.seen_report, charge.seen_at = row.reported_at, now
        for replica_id, charge in list(self._charges.items()):
            current = by_id.get(replica_id)
            charge.is_ours = current is not None
            if charge.process is not None and (code := charge.process.exit_code()) is not None:
                self._on_exit(charge, current, code, now)
                continue
            self._tell_size(charge)
            self._do(decide(current, self._figures(charge, now), self._limits), charge, now)

    def _tell_size(self, charge: Charge) -> None:
        """Through the pulse file: the worker sees a new number of instances at once, and asks no database for it."""
        if charge.process is not None and charge.row.instances != charge.told_instances:
            size = charge.row.instances
            if pulse.wish(self._settings, replica_id=charge.row.id, generation=charge.generation, instances=size):
                charge.told_instances = size

    def _figures(self, charge: Charge, now: float) -> Figures:
        return Figures(
            is_running=charge.process is not None,
            asked_s=None if charge.asked_at is None else now - charge.asked_at,
            silent_s=now - charge.seen_at,
            due_in_s=charge.start_at - now,
        )

    def _do(self, step: Step, charge: Charge, now: float) -> None:
        process = charge.process
        match step:
            case Step.START:
                self._start(charge, now)
            case Step.STOP if process:
                charge.asked_at = now
                process.terminate()
                log.info("worker_stopping", **named(charge.row), pid=process.pid)
                self._ports.replicas.report(charge.row.id, charge.generation, observed=Observed.DRAINING)
            case Step.KILL if process:
                log.warning("worker_killed", **named(charge.row), cause="stop_grace_over")
                process.kill()
            case Step.RESTART if process:
                log.warning("worker_killed", **named(charge.row), cause="silent")
                process.kill()
                charge.seen_at = now
            case Step.SETTLE:
                self._ports.instances.end_replica(charge.row.id)
                self._ports.replicas.report(charge.row.id, charge.row.generation, observed=Observed.STOPPED)
            case Step.FORGET:
                del self._charges[charge.row.id]

    def _start(self, charge: Charge, now: float) -> None:
        row = charge.row
        charge.start_at = now + 1.0  # should the start itself fail
        left = [other.row.device for other in self._running() if not other.is_ours]
        generation = 0 if is_taken(row.device, left) else self._ports.replicas.begin(row.id)
        if generation == 0:
            charge.start_at = now + LOOK_AGAIN_S  # others may be leaving to make room for it
            return
        name = f"worker-{row.service_id}.{row.ordinal}.log"
        settings = self._settings
        charge.process = WorkerProcess(
            self._command(row, self._host),
            environ=environment(settings, row, generation=generation, node_id=self._node_id, inherited=self._environ),
            folder=settings.data_dir,
            log_path=settings.data_dir / "logs" / name if settings.telemetry.worker_logs == "files" else None,
            nursery=self._nursery,
        )
        charge.generation, charge.asked_at, charge.seen_at = generation, None, now
        charge.told_instances = 0
        log.info("worker_started", **named(charge.row), pid=charge.process.pid)
        pid = charge.process.pid
        self._ports.replicas.report(row.id, generation, observed=Observed.STARTING, pid=pid, owner=owner_of(pid))

    def _on_exit(self, charge: Charge, row: Replica | None, code: int, now: float) -> None:
        """Gives its jobs back first; asked again in the next turn if the store is away meanwhile."""
        process = charge.process
        if process is None:
            return
        process.kill()
        if self._ports.instances.end_replica(charge.row.id):
            recover.sweep(self._core.jobs, rings=False)
        if row is not None:
            self._report_exit(charge, row, code)
        if charge.asked_at is None:
            charge.restarts += 1
            lived_s = now - process.started_s
            cap_s = self._settings.serving.restart_backoff_cap_s
            charge.delay_s = restart_delay_s(charge.delay_s, lived_s=lived_s, cap_s=cap_s)
            charge.start_at = now + charge.delay_s
        charge.process, charge.asked_at = None, None
        node_metrics.forget_dead(self._metrics)
        self._alarm.ring()

    def _report_exit(self, charge: Charge, row: Replica, code: int) -> None:
        """`failed` only for a model that could not be loaded: all else is started again."""
        report = self._ports.replicas.report
        if row.desired is Desired.STOPPED:
            log.info("worker_stopped", **named(charge.row), code=code)
            report(row.id, charge.generation, observed=Observed.STOPPED)
            self._ports.kick.reconcile()  # somebody may wait for its room
        elif code == LOAD_FAILED:
            log.error("worker_cannot_load", **named(charge.row), reason=row.reason)
            current = self._ports.replicas.get(row.id)
            reason = (current and current.reason) or LOAD_FAILED_REASON
            report(row.id, charge.generation, observed=Observed.FAILED, reason=reason)
        else:
            log.warning("worker_crashed", **named(charge.row), code=code)
            reason = explain_exit(code)
            report(row.id, charge.generation, observed=Observed.PENDING, reason=reason, restarted=True)

    def _tell(self) -> None:
        """Writes run/node.json, when something in it has changed."""
        processes = [
            {
                "role": WORKER,
                "pid": charge.process.pid,
                "service_id": charge.row.service_id,
                "replica_id": charge.row.id,
                "restarts": charge.restarts,
                "device": charge.row.device,
            }
            for charge in self._charges.values()
            if charge.process is not None
        ]
        content = {
            "node_id": self._node_id,
            "pid": os.getpid(),
            "metrics_port": self._metrics_port,
            "processes": processes,
        }
        if content != self._told:
            path = self._settings.data_dir / "run" / "node.json"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, content)
            except OSError as error:
                # A full disk must cost the workers nothing: told again in the next turn.
                log.warning("node_file_not_written", error=str(error))
                return
            self._told = content


def node_id_of(settings: Settings, host: str) -> str:
    """The same after every restart: two data folders on one host are two nodes."""
    digest = hashlib.sha256(str(settings.data_dir).encode()).hexdigest()[:8]
    return settings.process.node_id or f"{host}-{digest}"


def main(environ: Mapping[str, str]) -> int:
    """Runs until SIGTERM or SIGINT."""
    from inference import settings as settings_room
    from inference import wiring
    from inference.telemetry.log import configure
    from workers import publisher

    end_quietly()
    settings = settings_room.load(environ)
    if settings.process.run_id:
        lifeline.die_with_parent()
    nursery = Nursery.branched(lambda: cradle.show("node"))
    configure(settings, "node")
    host = socket.gethostname()
    bell = publisher.connect(settings)
    core = wiring.build(settings, bell=bell.bell, kick=bell.kick)
    senses = Senses(settings.resources, visible=environ.get("CUDA_VISIBLE_DEVICES"))
    server = node_metrics.MetricsServer(
        metrics_folder(settings),
        host=settings.api.host,
        port=settings.workers.metrics_port,
        devices=senses.reading,
    )
    agent = Agent(
        core,
        node_id=node_id_of(settings, host),
        host=host,
        environ=environ,
        metrics_port=server.port,
        nursery=nursery,
        senses=senses,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, agent.stop)
    signal.signal(signal.SIGCHLD, agent.wake)
    agent.run()
    server.close()
    senses.close()
    core.close()
    bell.close()
    return 0


if __name__ == "__main__":
    cradle.enter("workers.node")
    entry.run(lambda: main(os.environ))
