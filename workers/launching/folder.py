"""The data folder of a running system: its lock, its files about the run, and what an earlier run left behind."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference.errors import AlreadyRunning, BadSettings
from workers.launching.roles import Ports


def prepare(data_dir: Path) -> None:
    """Makes the folders of a run. What may hold payloads is for its owner alone.

    Raises BadSettings when they cannot be made.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("run/nginx", "run/flower", "run/metrics", "logs", "valkey"):
            (data_dir / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadSettings(
            f"The data folder {data_dir} cannot be made ({error.strerror}): choose another with --data-dir.",
            data_dir=str(data_dir),
        ) from error


def lock(data_dir: Path) -> int:
    """Takes the folder for this process, for as long as it lives; gives back the descriptor that holds it.

    Raises AlreadyRunning, naming who has it.
    """
    handle = os.open(data_dir / "run" / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode().strip() or "unknown"
        os.close(handle)
        where = read_json(data_dir / "run" / "up.json").get("urls", {}).get("api", "")
        raise AlreadyRunning(
            f"Penstock already runs on {data_dir} (process {holder}{', ' + where if where else ''}): "
            "stop it first, or choose another folder with --data-dir.",
            pid=holder,
            data_dir=str(data_dir),
        ) from None
    (data_dir / "run" / "up.json").unlink(missing_ok=True)
    _forget_processes(data_dir)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _forget_processes(data_dir: Path) -> None:
    """Figures and pulses of an earlier run's processes: nobody writes them any more."""
    for left in (*data_dir.glob("run/metrics/*/*.db"), *data_dir.glob("run/pulse-*")):
        left.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty when there is none, or it cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replaces the file in one step: a reader sees the old object or the new one."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replaces the file in one step; it is for its owner alone, for it may hold a password."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def choose_ports(data_dir: Path, *, names: tuple[str, ...]) -> Ports:
    """A free loopback port for each name: the one of the last run where it is still free."""
    path = data_dir / "run" / "ports.json"
    before = read_json(path)
    with contextlib.ExitStack() as held:
        chosen = {name: _claim(held, before.get(name, 0)) for name in names}
    write_json(path, {**before, **chosen})
    return Ports(**chosen)


def _claim(held: contextlib.ExitStack, wanted: int) -> int:
    """A port that could be bound just now. Holding the sockets until all are chosen keeps them apart."""
    for port in (wanted, 0):
        trial = held.enter_context(socket.socket())
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            continue
        return int(trial.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def processes_of(data_dir: Path | None = None, *, run_id: str = "") -> Iterator[tuple[int, str]]:
    """(pid, role) of the processes that a launcher started, for this folder or in this run; never this process.

    A part that somebody started by hand (`penstock node`) has no run, and is left alone.
    """
    wanted = data_dir.resolve() if data_dir is not None else None
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            values = _environment(int(entry.name))
        except OSError:
            continue
        role, run = values.get("PENSTOCK_ROLE", ""), values.get("PENSTOCK_RUN_ID", "")
        if not role or not run or run_id not in ("", run):
            continue
        if wanted is None or Path(values.get("PENSTOCK_DATA_DIR", "/")).resolve() == wanted:
            yield int(entry.name), role


def _environment(pid: int) -> dict[str, str]:
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    if "PENSTOCK_ROLE=" not in raw:
        return {}
    return dict(item.split("=", 1) for item in raw.split("\0") if "=" in item)


def sweep(data_dir: Path, *, limit_s: float = 3.0) -> list[tuple[int, str]]:
    """Ends what an earlier run left on this folder; a broker is asked first, so that it can sync its file.

    Gives back what it found. Call it only with the lock in hand.
    """
    found = list(processes_of(data_dir))
    kill(found, {"broker": signal.SIGTERM})
    deadline = time.monotonic() + limit_s
    while left := list(processes_of(data_dir)):
        if time.monotonic() > deadline:
            kill(left, {})
        time.sleep(0.02)
        if time.monotonic() > deadline + 2:
            break
    return found


def kill(found: list[tuple[int, str]], softly: dict[str, int]) -> None:
    """SIGKILL to each, or the signal named for its role."""
    for pid, role in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, softly.get(role, signal.SIGKILL))


def last_lines(path: Path, count: int) -> list[str]:
    """The end of a log, for a person who asks why a part does not come up."""
    with contextlib.suppress(OSError), path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 8_192))
        return log.read().decode(errors="replace").splitlines()[-count:]
    return []


def read_list(path: Path) -> list[dict[str, Any]]:
    """The list of objects in a file; empty when there is none, or it cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []
