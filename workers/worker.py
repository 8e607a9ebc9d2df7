"""A worker: one Celery node, pinned to one device, whose prefork children are the instances of one service."""

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
from workers.pulse import Pulse, path_of

log = structlog.get_logger(__name__)

REPLACE_S = 0.5
"""How often Celery looks whether a child has died; its own 5 s would be most of the time that a crash costs."""


def main(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Runs until it is told to stop. Codes: 0 stopped, 3 the model does not load, 4 another generation has begun."""
    settings = settings_room.load(environ)
    me = settings.process
    if not (me.service_id and me.replica_id and me.replica_generation):
        raise BadSettings("A worker is started by the node agent, which says what it is for; start `penstock node`.")
    lifeline.die_with_parent()
    share(settings.data_dir / "run" / "metrics" / "worker")
    configure(settings, "worker")
    return _run(settings, arguments)


def _run(settings: Settings, arguments: Sequence[str]) -> int:
    from celery import signals
    from celery.concurrency import asynpool

    from inference import wiring
    from workers import publisher, remote_control
    from workers.app import make_app
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
    fixed = ["--pool=prefork", f"--concurrency={replica.instances}", "--without-gossip", "--without-mingle"]
    try:
        app.worker_main(["--quiet", "worker", "--loglevel=WARNING", *fixed, *arguments])
    except SystemExit as ended:
        if ended.code and not exit_codes:
            exit_codes.append(int(ended.code) if isinstance(ended.code, int) else 1)
    finally:
        supervisor.end()
        told.close()
        path.unlink(missing_ok=True)
    return exit_codes[0] if exit_codes else 0


if __name__ == "__main__":
    entry.run(lambda: main(os.environ, sys.argv[1:]))
