"""A worker: one Celery node, pinned to one device, whose prefork children are the instances of one service."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from inference import entry, lifeline
from inference import settings as settings_room
from inference.errors import BadSettings
from inference.settings import Settings
from inference.telemetry.log import configure
from inference.telemetry.sharing import share
from workers.launching import cradle
from workers.launching.born import Task
from workers.launching.nursery import Nursery
from workers.pulse import Pulse, path_of

log = structlog.get_logger(__name__)

REPLACE_S = 0.2
"""How often Celery looks whether a child has died; its own 5 s would be most of the time that a crash costs."""


def main(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Runs until it is told to stop. Codes: 0 stopped, 3 the model does not load, 4 another generation has begun."""
    settings = settings_room.load(environ)
    me = settings.process
    if not (me.service_id and me.replica_id and me.replica_generation):
        raise BadSettings("A worker is started by the node agent, which says what it is for; start `penstock node`.")
    lifeline.die_with_parent()
    share(settings.data_dir / "run" / "metrics" / "worker")
    nursery = Nursery.branched(lambda: cradle.show("engines"))
    configure(settings, "worker")
    if nursery is not None:
        fork_children(nursery)
    return _run(settings, arguments)


def fork_children(nursery: Nursery) -> None:
    """From now on the pool's children are forked instead of spawned.

    The nursery has neither CUDA nor an engine, and forks nothing of this process: they are as safe, and sooner there.
    """
    from billiard import compat, popen_spawn_posix, semaphore_tracker

    def start(path: str, argv: list[str], fds: list[int]) -> int:
        # The tracker outlives us: it removes what we leave.
        orphan_signal = 0 if any("semaphore_tracker" in word for word in argv) else signal.SIGKILL
        task = Task(argv=tuple(argv), environ=dict(os.environ), orphan_signal=orphan_signal)
        forked = nursery.start(task, sorted({number for number in fds if number > 2}))
        return forked.pid if forked is not None else int(compat.spawnv_passfds(path, argv, fds))

    popen_spawn_posix.spawnv_passfds = semaphore_tracker.spawnv_passfds = start


def _run(settings: Settings, arguments: Sequence[str]) -> int:
    from celery import signals
    from celery.concurrency import asynpool

    from inference import wiring
    from workers import publisher, remote_control
    from workers.app import make_app
    from workers.resize import PoolFit
    from workers.supervisor import CHILDLESS_EXIT, Supervisor

    told = publisher.connect(settings)
    core = wiring.build(settings, bell=told.bell, kick=told.kick)
    replica = core.serving.replicas.get(settings.process.replica_id)
    if replica is None or replica.generation != settings.process.replica_generation:
        return 4
    path = path_of(settings)
    exit_codes: list[int] = []

    def stop(code: int) -> None:
        if code == CHILDLESS_EXIT:
            os._exit(code)  # nobody has work in hand, and the loop that would end us stands still
        exit_codes.append(code)
        os.kill(os.getpid(), signal.SIGTERM)

    supervisor = Supervisor(core, Pulse(path), slots=replica.instances, stop=stop)

    def on_shutdown(**_: Any) -> None:
        supervisor.drain()

    signals.worker_shutting_down.connect(on_shutdown, weak=False)
    supervisor.start()
    app = make_app(settings, modules=["workers.tasks.run"])
    remote_control.narrow(settings)
    asynpool.AsynPool.timers = property(lambda pool: {pool.maintain_pool: REPLACE_S})
    asked = _parser().parse_args(arguments)
    # Not by Celery's command line, which brings along every command there is, Flower and a shell.
    worker = app.Worker(
        hostname=asked.hostname,
        queues=[asked.queue],
        pool_cls="prefork",
        concurrency=replica.instances,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        heartbeat_interval=10,
        quiet=True,
    )
    supervisor.fit = PoolFit(worker).fit
    try:
        worker.start()
        if worker.exitcode and not exit_codes:
            exit_codes.append(int(worker.exitcode))
    finally:
        supervisor.end()
        told.close()
        path.unlink(missing_ok=True)
    return exit_codes[0] if exit_codes else 0


def _parser() -> argparse.ArgumentParser:
    """As Celery's own `worker` has them."""
    parser = argparse.ArgumentParser(prog="workers.worker")
    parser.add_argument("-n", dest="hostname", required=True)
    parser.add_argument("-Q", dest="queue", required=True)
    return parser


if __name__ == "__main__":
    entry.run(lambda: main(os.environ, sys.argv[1:]))
