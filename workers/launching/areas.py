"""Where the kernel reads a process's command line and environment from: forked processes write their own there.

`/proc/PID/environ` is how parts of ours are found, and `ps` is how people find them. A process that was started by
`command` with a variable `ROOM` has space there for those of its copies.
"""

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOM = "NURSERY_ROOM"
_MORE_BYTES = 4096
_LINE_BYTES = 1024
_FIRST = ("PENSTOCK_ROLE", "PENSTOCK_RUN_ID", "PENSTOCK_DATA_DIR", "PENSTOCK_NODE_ID", "PENSTOCK_SERVICE_ID")
_known: list[tuple[int, int]] = []


def command(*arguments: str) -> list[str]:
    """The command line of a process with space for those of its copies."""
    return [sys.executable, "-m", "workers.launching.cradle", *arguments, " " * _LINE_BYTES]


def room_for(environ: Mapping[str, str]) -> str:
    """The value of `ROOM`, for copies whose environment is this one and some kilobytes more."""
    return "." * (sum(len(os.fsencode(name + value)) + 2 for name, value in environ.items()) + _MORE_BYTES)


def know() -> None:
    """Finds this process's areas; its copies know them too. Not to be called in a process that has no `ROOM`."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    line_at, line_end, environ_at, environ_end = (int(field) for field in fields[45:49])
    if sys.platform == "linux" and line_at and environ_at:
        _known[:] = [(line_at, line_end - line_at), (environ_at, environ_end - environ_at)]


def are_known() -> bool:
    """Whether copies of this process can say who they are."""
    return bool(_known)


def rename(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
    """Shows this command line, and this environment if one is given, to whoever looks; cut off where space ends.

    What of glibc's own environment lay there has been replaced before, by whoever set `os.environ`.
    """
    if not _known:
        return
    _write(_known[0], [*argv])
    if environ is not None:
        first = [name for name in _FIRST if name in environ]
        rest = sorted(environ.keys() - set(first), key=lambda name: not name.startswith("PENSTOCK_"))
        _write(_known[1], [f"{name}={environ[name]}" for name in (*first, *rest)])


def _write(area: tuple[int, int], texts: Sequence[str]) -> None:
    at, size = area
    content = b"".join(os.fsencode(text) + b"\0" for text in texts)
    if len(content) > size:
        content = content[: content.rfind(b"\0", 0, size) + 1]  # a half value would mislead
    ctypes.memmove(at, content.ljust(size, b"\0"), size)
