"""`penstock down`: ends the `up` of a data folder from outside."""

import os
import signal
import time
from pathlib import Path

from api.cli import output, target

LIMIT_S = 20.0


def run(*, data_dir: str | None, is_json: bool) -> int:
    """0 when it has ended or did not run; 1 when it still runs after 20 s."""
    folder = target.data_dir_of(data_dir, os.environ)
    told = target.running(folder)
    if told is None:
        return _answer(folder, "not_running", f"No Penstock runs on {folder}.", is_json=is_json)
    pid = int(told["pid"])
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if not _is_there(pid):
            return _answer(folder, "stopped", f"Penstock on {folder} has stopped.", is_json=is_json)
        time.sleep(0.05)
    return _answer(folder, "running", f"Process {pid} still runs after {LIMIT_S:.0f} s.", is_json=is_json)


def _answer(folder: Path, status: str, sentence: str, *, is_json: bool) -> int:
    body = {"status": status, "data_dir": str(folder)}
    output.answer(body, is_json=is_json, show=lambda _: print(sentence))
    return 1 if status == "running" else 0


def _is_there(pid: int) -> bool:
    """False once it has ended, also while nobody has read its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False
