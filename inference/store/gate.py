"""The write gate: processes and threads that write to one SQLite file take turns, first come first served.

SQLite itself makes a late writer sleep and try again, so that it may starve. Here two file locks form a turnstile:
who wants to write takes `next`, then `turn`, then lets `next` go. A writer that comes back at once finds `next` held by
the one who has been waiting. A wait that lasts longer than the limit is given up with StoreUnavailable.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.clock import monotonic_s
from inference.errors import StoreUnavailable

MOMENT_S, NAP_S = 0.001, 0.000_02
"""Most turns end within a moment. Until then we ask again and again: to have a thread wait costs two wakes more."""


class Gate:
    """One per database and process. Not re-entrant. Survives a fork: the child opens descriptors of its own."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._open()

    def _open(self) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        self._pid = os.getpid()
        self._next = os.open(f"{self._path}.next", flags, 0o600)
        self._turn = os.open(f"{self._path}.turn", flags, 0o600)
        self._threads = threading.Lock()
        # Locks as tokens, since a Semaphore is Python and a handover would cost 20 us: whoever takes one waits until
        # another thread lets it go. Neither is ever let go twice, as `_is_waiting` says.
        self._wanted, self._granted = threading.Lock(), threading.Lock()
        self._wanted.acquire()
        self._granted.acquire()
        self._handover = threading.Lock()
        self._is_waiting = False
        self._is_abandoned = False
        self._waiter: threading.Thread | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Holds the right to write. Raises StoreUnavailable when the turn does not come in time."""
        if self._pid != os.getpid():
            self._open()
        deadline = monotonic_s() + self._timeout_s
        if not self._threads.acquire(timeout=self._timeout_s):
            raise self._late()
        try:
            self._take(deadline)
            try:
                yield
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        os.close(self._next)
        os.close(self._turn)

    def _late(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"The database is busy: no turn to write came within {self._timeout_s:g} s.", part="sql", retry_after_s=1
        )

    def _take(self, deadline: float) -> None:
        if not self._is_waiting and self._try():
            return
        self._take_slowly(deadline)

    def _try(self) -> bool:
        """Keeps `next` while it waits, so that nobody overtakes it."""
        if not _locks_now(self._next):
            return False
        try:
            ends = monotonic_s() + MOMENT_S
            while not (has_turn := _locks_now(self._turn)) and monotonic_s() < ends:
                time.sleep(NAP_S)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)
        return has_turn

    def _take_slowly(self, deadline: float) -> None:
        """A thread waits in the kernel's queue for us, so that our own wait can have an end."""
        with self._handover:
            if not self._is_waiting:
                self._start_waiting()
            self._is_abandoned = False
        if self._granted.acquire(timeout=max(0.0, deadline - monotonic_s())):
            self._is_waiting = False
            return
        with self._handover:
            if self._granted.acquire(blocking=False):
                self._is_waiting = False
                return
            self._is_abandoned = True
        raise self._late()

    def _start_waiting(self) -> None:
        if self._waiter is None:
            self._waiter = threading.Thread(target=self._wait_for_turns, name="write-gate", daemon=True)
            self._waiter.start()
        self._is_waiting = True
        self._wanted.release()

    def _wait_for_turns(self) -> None:
        while True:
            self._wanted.acquire()
            fcntl.flock(self._next, fcntl.LOCK_EX)
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            fcntl.flock(self._next, fcntl.LOCK_UN)
            with self._handover:
                if self._is_abandoned:
                    self._is_abandoned = self._is_waiting = False
                    fcntl.flock(self._turn, fcntl.LOCK_UN)
                else:
                    self._granted.release()


def _locks_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
