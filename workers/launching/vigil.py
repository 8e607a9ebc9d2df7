"""Sees which parts live and do nothing any more: stopped, deadlocked. A process that has ended is no matter of ours.

One thread, nothing that blocks: the launcher has no other thread, and must not have.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

CONTROL_BEAT = "run/control.alive"
HANGS_S = 15.0
STARTS_S = 180.0
ASK_S, SOON_S = 2.0, 0.2
FIRST_PATIENCE_S, PATIENCE_S = 1.0, 10.0
_STRIDE_S = 5.0
_QUESTION = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Vigil:
    """Watches one process from its first sign of life on: a slow start is not a hanging one, for `STARTS_S`.

    Time counts only while somebody looks: a launcher that slept with its machine must not blame its parts.
    """

    def __init__(self, hears: Callable[[], bool], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hears = hears
        self._clock = clock
        self._looked_at = clock()
        self._was_heard = False
        self._silent_s = 0.0

    def hangs(self) -> bool:
        """Whether it was heard once and not for `HANGS_S`, or never. Call it every second or so."""
        now = self._clock()
        step_s, self._looked_at = min(now - self._looked_at, _STRIDE_S), now
        if self._hears():
            self._was_heard, self._silent_s = True, 0.0
        else:
            self._silent_s += step_s
        return self._silent_s > (HANGS_S if self._was_heard else STARTS_S)


class Answers:
    """Hears an HTTP server on a Unix socket: any answer to /healthz will do, for a busy server is not a hanging one."""

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        self._path = path
        self._open: socket.socket | None = None
        self._asked_at = 0.0
        self._patience_s = FIRST_PATIENCE_S

    def __call__(self) -> bool:
        """Whether an answer has come since the last call. Never blocks.

        Asks every `ASK_S`; after `SOON_S` again while nobody is there.
        """
        if self._open is None:
            if time.monotonic() - self._asked_at >= ASK_S:
                self._ask()
            return False
        try:
            is_answer = bool(self._open.recv(64))
        except BlockingIOError:
            if time.monotonic() - self._asked_at >= self._patience_s:
                self._close()  # a question may be lost at a start, with the process that took it
            return False
        except OSError:
            is_answer = False
        self._close()
        if is_answer:
            self._patience_s = PATIENCE_S
        return is_answer

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _ask(self) -> None:
        """Through /proc, because the path of a Unix socket may have 107 bytes only."""
        self._asked_at = time.monotonic()
        with contextlib.suppress(OSError):
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._open = socket.socket(socket.AF_UNIX)
                self._open.setblocking(False)
                self._open.connect(f"/proc/self/fd/{folder}/{self._path}")
                self._open.sendall(_QUESTION)
            except OSError:
                self._close()
                self._asked_at -= ASK_S - SOON_S  # not there yet: what is soon there shall soon be heard
            finally:
                os.close(folder)


class Beats:
    """Hears a process that touches a file about once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = self._written()

    def __call__(self) -> bool:
        last, self._last = self._last, self._written()
        return self._last != last

    def _written(self) -> int:
        with contextlib.suppress(OSError):
            return self._path.stat().st_mtime_ns
        return 0


def vigil_of(folder: Path, *, answers_at: str, beats_at: str) -> Vigil | None:
    """For a process that starts now; None for one that gives no sign of life."""
    if answers_at:
        return Vigil(Answers(folder, answers_at))
    return Vigil(Beats(folder / beats_at)) if beats_at else None
