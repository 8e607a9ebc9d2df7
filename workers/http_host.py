"""Serves the HTTP API with granian: `python -m workers.http_host --uds PATH`, or `--host H --port P`.

Its worker processes end with it, also when it is killed with -9: granian alone leaves them holding the socket.
"""

import argparse
import gc
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces

from inference import entry
from inference import settings as settings_room
from inference.access import opening
from inference.lifeline import die_with_parent
from inference.settings import Settings
from inference.telemetry import sharing

APPLICATION = "api.app:create_app"
SHARED = ("flask_smorest", "kombu", "inference.wiring")
"""Imported once, before the workers are forked: half the work at the start, and a lost worker is back sooner.

Nothing that opens a connection or starts a thread may be among them. Metrics are declared by some: where their figures
are kept must be said before (prometheus-client gives each forked process a file of its own).
"""


def load(main_pid: int, target: str) -> Any:
    """Runs in each granian worker: ties its life to the main process, then makes the application."""
    die_with_parent(parent_pid=main_pid)
    module, _, factory = target.partition(":")
    return getattr(importlib.import_module(module), factory)()


def check_store(settings: Settings) -> int:
    """What would keep every worker from its start is told once, by a copy of this process; its exit code.

    The main process itself has no business with the database, and what it touched for it would be 8 MB.
    """
    from inference import wiring  # after it was said where metrics are kept

    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        die_with_parent()
        code = entry.code_of(lambda: wiring.check_store(settings))
        sys.stderr.flush()
    finally:
        os._exit(code)


def ask_for_keys(settings: Settings, host: str) -> None:
    """For a listener that others may reach: the workers ask for keys from their start. Raises KeysNeeded."""
    from inference import wiring  # after it was said where metrics are kept

    if opening.must_ask(settings, host, is_closed=lambda: wiring.has_keys(settings)):
        os.environ["PENSTOCK_ACCESS__REQUIRE_KEYS"] = "true"


class _Loader:
    """`load` with the main process in it, in a form that granian's workers can unpickle."""

    def __init__(self, main_pid: int) -> None:
        self.main_pid = main_pid

    def __call__(self, target: str) -> Any:
        return load(self.main_pid, target)


def main(arguments: list[str]) -> int:
    """Serves until SIGTERM or SIGINT; requests under way are finished."""
    parser = argparse.ArgumentParser(prog="workers.http_host", description=__doc__)
    parser.add_argument("--uds", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--port", default="")
    parser.add_argument("--target", default=APPLICATION, help="package.module:factory")
    asked = parser.parse_args(arguments)
    settings = settings_room.load(os.environ)
    port = entry.port(asked.port) if asked.port else settings.api.port
    host = asked.host or settings.api.host
    if asked.uds is not None:
        asked.uds.unlink(missing_ok=True)
    else:
        entry.require_free(host, port)
    server = Granian(
        asked.target,
        address=host,
        port=port,
        uds=asked.uds,
        uds_permissions=0o600,
        interface=Interfaces.WSGI,
        websockets=False,
        workers=settings.api.workers,
        blocking_threads=settings.api.threads,
        backlog=4096,
        backpressure=2048,
        log_access=False,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=4,
    )
    if asked.target == APPLICATION:
        sharing.share(settings.data_dir / "run" / "metrics" / "api")
        for module in SHARED:
            importlib.import_module(module)
        if code := check_store(settings):
            return code
        if asked.uds is None:
            ask_for_keys(settings, host)
        gc.freeze()
    server.serve(target_loader=_Loader(os.getpid()))
    return 0


if __name__ == "__main__":
    entry.run(lambda: main(sys.argv[1:]))
