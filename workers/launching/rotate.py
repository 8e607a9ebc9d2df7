"""Rotation of log files: `x.log` becomes `x.log.1`, and a generation later `x.log.2.gz`.

Whoever writes to the file keeps writing to it under its new name until it looks (`telemetry.log.follow`), which it
does before the first line of every second: so the newest old file is compressed a generation late, and nothing is lost.
A foreign program never looks: what it wrote is copied and its file emptied, and what it writes in between is lost.
"""

import contextlib
import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from inference import lifeline
from inference.clock import monotonic_s
from inference.settings import LogsSettings

PLAIN_OLD = re.compile(r".+\.log\.([2-9]|\d\d+)")
NICE, SWEEP_S = 10, 30.0


def rotate(path: Path, limits: LogsSettings, *, is_followed: bool) -> bool:
    """Rotates a file that is longer than it may be; whether it was. Never raises.

    `is_followed`: its writers go on in the new file by themselves. Where there is no room for a copy, what was written
    so far goes.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size <= limits.file_bytes:
            return False
        _shift(path, limits.files)
        if is_followed:
            path.rename(_old(path, 1))
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
        else:
            _copy_and_empty(path)
        return True
    return False


def compress(folder: Path) -> list[Path]:
    """Compresses all old files but the newest ones, and gives back what it made."""
    made = []
    for path in sorted(folder.glob("*.log.*")):
        if not PLAIN_OLD.fullmatch(path.name):
            continue
        whole, draft = path.with_name(f"{path.name}.gz"), path.with_name(f"{path.name}.draft")
        with contextlib.suppress(OSError):
            with path.open("rb") as plain, gzip.open(draft, "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            draft.chmod(0o600)
            draft.replace(whole)
            path.unlink()
            made.append(whole)
    return made


def compress_beside(folder: Path) -> "subprocess.Popen[bytes] | None":
    """The same, in a process of its own that ends with this one: megabytes take a while. None when it cannot start."""
    with contextlib.suppress(OSError):
        return subprocess.Popen(
            [sys.executable, "-m", "workers.launching.rotate", str(folder)],
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lifeline.preexec(9),
        )
    return None


class Sweep:
    """Looks after the files of this pattern every half minute. `turn` never waits and never raises."""

    def __init__(self, folder: Path, pattern: str, limits: LogsSettings) -> None:
        self._folder, self._pattern, self._limits = folder, pattern, limits
        self._due_at = 0.0
        self._packing: subprocess.Popen[bytes] | None = None

    def turn(self) -> None:
        if self._packing is not None and self._packing.poll() is not None:
            self._packing = None
        if monotonic_s() < self._due_at:
            return
        self._due_at = monotonic_s() + SWEEP_S
        found = [rotate(path, self._limits, is_followed=True) for path in self._folder.glob(self._pattern)]
        if any(found) and self._packing is None:
            self._packing = compress_beside(self._folder)


def _old(path: Path, number: int, *, is_packed: bool = False) -> Path:
    return path.with_name(f"{path.name}.{number}{'.gz' if is_packed else ''}")


def _shift(path: Path, most: int) -> None:
    """Makes room for a new `.1`: each older one gets the next number, and what is beyond the last one goes."""
    for number in range(most, 0, -1):
        for is_packed in (False, True):
            old = _old(path, number, is_packed=is_packed)
            if not old.exists():
                continue
            if number >= most:
                old.unlink()
            else:
                old.replace(_old(path, number + 1, is_packed=is_packed))


def _copy_and_empty(path: Path) -> None:
    """The writer must append. Copies until nothing is left, and empties the file at once then."""
    before = _old(path, 1)
    try:
        with path.open("rb") as log, before.open("wb") as copy:
            before.chmod(0o600)
            shutil.copyfileobj(log, copy, 1 << 20)
    except OSError:
        before.unlink(missing_ok=True)
    os.truncate(path, 0)


if __name__ == "__main__":
    os.nice(NICE)
    compress(Path(sys.argv[1]))
