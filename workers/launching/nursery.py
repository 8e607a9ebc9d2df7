"""Forks Python processes from one that has their libraries loaded: they share its memory, and start at once.

A nursery does nothing but fork: it has no thread, no connection and no signal handler that a child could inherit. What
it forks becomes a child of the process that asked, with that process's death signal: as if `subprocess` had started it.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from inference import lifeline
from workers.launching import areas
from workers.launching.born import Task

PATIENCE_S = 5.0
"""A nursery that has not answered by then is ended, and its client starts processes in the slow way."""
_MOST_FDS = 64
_HEAD = _BORN = struct.Struct("!i")


class Forked:
    """What `subprocess.Popen` is for a process that was started: as much of it as is used here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        end = time.monotonic() + timeout if timeout is not None else None
        while (code := self._wait(0 if end is None else os.WNOHANG)) is None:
            if end is not None and timeout is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("a forked process", timeout)
            time.sleep(0.005)
        return code

    def _wait(self, flags: int) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, flags)
            except ChildProcessError:
                self.returncode = 0  # somebody else waited for it, as `subprocess` has it
            else:
                if pid == self.pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The client's side. Safe in any thread; the forked live as long as the client's main thread at most."""

    def __init__(self, line: socket.socket, pid: int) -> None:
        self.pid = pid
        self._process = os.pidfd_open(pid)  # its number may be somebody else's by the time that it is ended
        self._line = line
        self._lock = threading.Lock()
        self._is_warm = self._is_gone = False

    @classmethod
    def opened(cls, *, environ: Mapping[str, str], cwd: Path, log: Path) -> Self:
        """A new process that loads what our processes need. Returns at once."""
        lifeline.adopt_orphans()
        ours, theirs = socket.socketpair()
        with theirs, log.open("ab") as output:
            process = subprocess.Popen(
                areas.command(str(theirs.fileno())),
                cwd=cwd,
                env={**environ, areas.ROOM: areas.room_for(environ)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lifeline.preexec(signal.SIGKILL),
                pass_fds=(theirs.fileno(),),
            )
        process.returncode = 0  # waited for by whoever waits for orphans
        return cls(ours, process.pid)

    @classmethod
    def branched(cls, become: Callable[[], None]) -> Self | None:
        """A copy of this process as it is now; None where its copies could not say who they are (`areas`).

        The copy runs `become` before it serves. Call it early: before there is any thread, connection or handler, and
        where nobody above would end things when the forked, in which it does not return, raise SystemExit.
        """
        if not areas.are_known():
            return None
        lifeline.adopt_orphans()
        ours, theirs = socket.socketpair()
        parent_pid = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            return cls(ours, pid)
        ours.close()
        lifeline.die_with_parent(parent_pid=parent_pid)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        become()
        serve(theirs).run()
        raise AssertionError("a task ends its process")

    def is_warm(self) -> bool:
        """Whether it can fork by now. Never blocks."""
        if not self._is_warm and not self._is_gone and select.select([self._line], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                self._is_warm = self._line.recv(1) == b"+"
            self._is_gone = not self._is_warm
        return self._is_warm and not self._is_gone

    @property
    def is_gone(self) -> bool:
        """Whether another one is needed."""
        return self._is_gone

    def start(self, task: Task, fds: Sequence[int] = ()) -> Forked | None:
        """The process, which finds these descriptors under their own numbers; None where another way must be found."""
        if not self.is_warm():
            return None
        body = json.dumps(task.packed(os.getpid(), list(fds))).encode()
        with self._lock:
            try:
                self._line.settimeout(PATIENCE_S)
                socket.send_fds(self._line, [_HEAD.pack(len(body))], list(fds))
                self._line.sendall(body)
                pid = int(_HEAD.unpack(_exactly(self._line, _HEAD.size))[0])
            except (OSError, EOFError):
                self._is_gone = True
                self.end()
                return None
        return Forked(pid) if pid > 0 else None

    def end(self) -> None:
        """Ends the nursery, not what it forked. Does not wait. Safe to call twice."""
        self._is_gone = True
        self._line.close()
        if self._process >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
            os.close(self._process)
            self._process = -1


@dataclass(frozen=True, slots=True)
class _Asked:
    content: dict[str, Any]
    fds: list[int]


def serve(line: socket.socket) -> Task:
    """Forks for whoever is at the other end, until that end is closed; gives back, in each forked process, its task."""
    line.sendall(b"+")
    while True:
        asked = _receive(line)
        if asked is None:
            os._exit(0)
        heard, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            # A process in between, so that its child is an orphan, and is adopted by the one who asked.
            if os.fork():
                os._exit(0)
            return _born(asked, tells)
        os.close(tells)
        os.waitpid(pid, 0)
        told = os.read(heard, _BORN.size)
        os.read(heard, 1)  # until the other end is closed there, too
        os.close(heard)
        for number in asked.fds:
            os.close(number)
        line.sendall(_HEAD.pack(_BORN.unpack(told)[0] if len(told) == _BORN.size else 0))


def _receive(line: socket.socket) -> _Asked | None:
    try:
        head, fds, _, _ = socket.recv_fds(line, _HEAD.size, _MOST_FDS)
        if not head:
            return None
        length = _HEAD.unpack(head + _exactly(line, _HEAD.size - len(head)))[0]
        return _Asked(json.loads(_exactly(line, length)), fds)
    except (EOFError, ConnectionError):
        return None


def _exactly(line: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (part := line.recv(count - len(found))):
            raise EOFError
        found += part
    return found


def _born(asked: _Asked, tells: int) -> Task:
    """Makes a process of its own out of this copy, and only then says that it is there."""
    try:
        task = Task.unpacked(asked.content)
        parent_pid, wanted = int(asked.content["parent"]), [int(number) for number in asked.content["fds"]]
        end = time.monotonic() + PATIENCE_S
        while os.getppid() != parent_pid:
            if time.monotonic() > end:
                os._exit(1)
            time.sleep(0.0005)
        lifeline.die_with_parent(task.orphan_signal, parent_pid=parent_pid)
        if task.leads_session:
            os.setsid()
        told = _place(asked.fds, wanted, tells)
        task.settle()
        os.write(told, _BORN.pack(os.getpid()))
        os.close(told)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    return task


def _place(given: Sequence[int], wanted: Sequence[int], tells: int) -> int:
    """Puts each descriptor under its own number and closes all others but the standard ones; where `tells` is now."""
    above = max([2, *given, *wanted, tells]) + 1
    safe = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, above) for number in given]
    told = fcntl.fcntl(tells, fcntl.F_DUPFD_CLOEXEC, above)
    os.closerange(3, above)
    for number in _open_ones():
        if number >= above and number not in safe and number != told:
            with contextlib.suppress(OSError):
                os.close(number)
    for source, target in zip(safe, wanted, strict=True):
        os.dup2(source, target, inheritable=True)
        os.close(source)
    return told


def _open_ones() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
