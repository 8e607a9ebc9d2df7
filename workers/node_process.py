"""One worker process of a replica: started pinned to its device, ended gently, never left behind."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TypeAlias

from inference import lifeline
from inference.clock import monotonic_s
from inference.serving.model import Replica
from inference.settings import Settings
from workers.launching.born import Task
from workers.launching.nursery import Forked, Nursery
from workers.queues import service_queue

WORKER = "worker"
LOAD_FAILED = 3
"""Exit code of a worker whose model could not be loaded: starting it again would change nothing."""

Command: TypeAlias = Callable[[Replica, str], list[str]]


def named(replica: Replica) -> dict[str, str]:
    """What a log entry about a replica says of it, so that it is found among its service's."""
    return {"service_id": replica.service_id, "replica_id": replica.id}


def worker_command(replica: Replica, host: str) -> list[str]:
    """`-n` is the Celery node's name, `-Q` the queue of the service's doorbells."""
    name = f"{replica.service_id}.{replica.ordinal}@{host}"
    return [sys.executable, "-m", "workers.worker", "-n", name, "-Q", service_queue(replica.service_id)]


def environment(
    settings: Settings, replica: Replica, *, generation: int, node_id: str, inherited: Mapping[str, str]
) -> dict[str, str]:
    """What the worker finds in its environment. It sees its own GPU and no other, or none at all."""
    return {
        **inherited,
        "PENSTOCK_DATA_DIR": str(settings.data_dir),
        "PENSTOCK_ROLE": WORKER,
        "PENSTOCK_SERVICE_ID": replica.service_id,
        "PENSTOCK_REPLICA_ID": replica.id,
        "PENSTOCK_REPLICA_GENERATION": str(generation),
        "PENSTOCK_NODE_ID": node_id,
        "PENSTOCK_DEVICE": replica.device,
        "CUDA_VISIBLE_DEVICES": "" if replica.device == "cpu" else replica.device,
    }


def metrics_folder(settings: Settings) -> Path:
    """Where workers leave their metrics for the agent to serve."""
    return settings.data_dir / "run" / "metrics" / WORKER


class WorkerProcess:
    """A process in a session of its own, that the kernel kills when the calling thread ends."""

    def __init__(
        self,
        command: list[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        log_path: Path | None,
        nursery: Nursery | None = None,
    ) -> None:
        with _log(log_path) as log:
            self._popen = _forked(nursery, command, environ, folder, log_path) or subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lifeline.preexec(signal.SIGKILL),
            )
        self.started_s = monotonic_s()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Asks it to end its running batch and go."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it and all of its engine children at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def put_down(self) -> None:
        """`kill`, and waits until it is gone: what the kernel holds for a while longer is left to it."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(1)

    def _send(self, sig: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(sig)


def _forked(
    nursery: Nursery | None, command: list[str], environ: Mapping[str, str], folder: Path, log_path: Path | None
) -> Forked | None:
    if nursery is None:
        return None
    log = str(log_path) if log_path is not None else ""
    return nursery.start(Task(argv=tuple(command), environ=environ, cwd=str(folder), log=log, leads_session=True))


@contextlib.contextmanager
def _log(path: Path | None) -> Iterator[IO[bytes]]:
    """The file at `path`; without a path, what this process writes its own log to."""
    if path is None:
        yield sys.stderr.buffer
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        yield log


def explain_exit(code: int) -> str:
    """One sentence about a worker that ended unasked."""
    if code >= 0:
        return f"The worker ended by itself with code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"The worker was killed by {name}."


def leftovers(data_dir: Path, node_id: str) -> list[int]:
    """Workers of this node and data folder that an earlier agent started."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            raw = Path(f"/proc/{entry.name}/environ").read_bytes()
            if b"PENSTOCK_ROLE=worker" not in raw:
                continue
            values = dict(item.split("=", 1) for item in raw.decode(errors="replace").split("\0") if "=" in item)
            is_ours = values.get("PENSTOCK_DATA_DIR") == str(data_dir) and values.get("PENSTOCK_NODE_ID") == node_id
            if is_ours and values.get("PENSTOCK_ROLE") == WORKER:
                found.append(int(entry.name))
    return found
