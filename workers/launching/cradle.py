"""The process from which parts are forked: loads what they share, then waits to be asked (`nursery`).

`python -m workers.launching.cradle FD` answers on that socket; `... MODULE [ARGUMENT ...]` becomes that part itself,
which can then have a nursery of its own, and `... BARE MODULE [ARGUMENT ...]` does so without loading anything.
"""

import gc
import importlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence

from workers.alarm import end_quietly
from workers.launching import areas, nursery
from workers.launching.born import Task

SHARED = (
    *("celery.app.control", "celery.app.events", "celery.app.log", "celery.apps.worker", "celery.backends.redis"),
    *("celery.beat", "celery.concurrency.prefork", "celery.concurrency.solo", "celery.events.receiver"),
    *("celery.events.state", "celery.fixups.django", "celery.loaders.app", "celery.worker.autoscale"),
    *("celery.worker.components", "celery.worker.consumer", "celery.worker.consumer.delayed_delivery"),
    *("celery.worker.control", "celery.worker.loops", "celery.worker.strategy", "kombu.transport.redis"),
    *("billiard.heap", "billiard.popen_spawn_posix", "billiard.semaphore_tracker", "billiard.sharedctypes"),
    *("granian", "psutil", "prometheus_client.multiprocess", "sqlalchemy.dialects.sqlite", "encodings.idna"),
    *("uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.loops.uvloop", "uvicorn.protocols.http.auto"),
    *("uvicorn.protocols.websockets.auto", "dbm.dumb", "encodings.latin_1", "numpy.ma"),
    *("inference.engines.onnx", "inference.entry", "inference.resources.probe_nvml", "inference.telemetry.log"),
    *("inference.access.opening", "inference.redisio.news", "inference.wiring"),
    *("workers.alerting", "workers.app", "workers.beating", "workers.courier", "workers.engine_host"),
    *("workers.node_leases", "workers.node_metrics", "workers.node_process", "workers.publisher"),
    *("workers.remote_control", "workers.reporting", "workers.sampling", "workers.senses", "workers.supervisor"),
    *("workers.tasks.control", "workers.ticker", "workers.launching.roles"),
    *("api.app", "api.assembly", "api.live.app", "api.live.predict", "api.live.seats", "api.live.submit", "api.wiring"),
)
"""What the parts import: no engine, and nothing that opens a connection or starts a thread when it is imported."""

UNUSED = ("attr", "brotli", "cffi", "opentelemetry.sdk.metrics", "rich", "yaml")
"""What libraries import only because it is there, 10 MB: for coloured tracebacks, YAML, and metrics we do not make.

Ours may still import it, later.
"""
BARE = "bare"
FOR_POSTGRESQL = ("sqlalchemy.dialects.postgresql.psycopg", "inference.store.patience")


def load() -> None:
    """Imports `SHARED`; what of it is not installed is left to who needs it."""
    gc.disable()
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: as if it were not there
    is_postgresql = os.environ.get("PENSTOCK_DATABASE_URL", "").startswith("postgres")
    for module in (*SHARED, *(FOR_POSTGRESQL if is_postgresql else ())):
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    for name in hidden:
        del sys.modules[name]
    from inference.engines import catalog

    catalog.installed()
    gc.collect()
    gc.freeze()
    gc.enable()


def enter(module: str, *, is_bare: bool = False) -> None:
    """Where this process, which runs `module`, could have no nursery, begins it anew so that it can."""
    if not areas.are_known() and "workers.launching.cradle" not in sys.orig_argv and sys.platform == "linux":
        environ = {**os.environ, areas.ROOM: areas.room_for(os.environ)}
        command = areas.command(*([BARE] if is_bare else []), module, *sys.argv[1:])
        os.execve(sys.executable, command, environ)  # noqa: S606 - this very program


def show(*words: str, environ: Mapping[str, str] | None = None) -> None:
    """Names this process, to whoever looks, after what it is the nursery of; with this environment if one is given."""
    areas.rename([sys.executable, "-m", "workers.launching.cradle", *words], environ)


def main(arguments: Sequence[str]) -> Task:
    """Gives back what this process, or a copy of it, is to become."""
    os.environ.pop(areas.ROOM, None)
    areas.know()
    *words, _ = arguments
    if words[0] == BARE:
        return _become(words[1:])
    is_part = not words[0].isdecimal()
    if is_part:
        end_quietly()
    show(*words)
    load()
    return _become(words) if is_part else nursery.serve(socket.socket(fileno=int(words[0])))


def _become(words: Sequence[str]) -> Task:
    task = Task(argv=(sys.executable, "-m", *words), environ=dict(os.environ))
    task.settle()
    return task


if __name__ == "__main__":
    main(sys.argv[1:]).run()
