"""What several processes count together, without a round trip on the path of a request."""

import threading
from collections.abc import Mapping
from typing import Protocol

import structlog

from inference.access.ports import SharedCounts
from inference.clock import monotonic_s
from inference.errors import HotUnavailable

log = structlog.get_logger(__name__)

KEEP_S = 60.0
FORGET_S = 10.0
"""What a process has not counted for so long is no longer shared by it, and begins anew."""


class Counting(Protocol):
    """Something that counts. `prefix` begins the names of its counters in Redis."""

    prefix: str

    def taken(self, *, used_since_s: float) -> Mapping[str, int]:
        """What was counted since the last call, by name; 0 for what was last counted after that monotonic instant."""
        ...

    def others(self, name: str, count: int, *, since_s: float) -> None:
        """Other processes counted so much after that monotonic instant."""
        ...


class Sharing:
    """One thread per process: every `every_s` it tells Redis what was counted here, and learns what was elsewhere.

    The thread starts with the first count and sleeps while nobody counts. While Redis is away each process counts
    alone; what it counted is told later.
    """

    def __init__(self, counts: SharedCounts, *, every_s: float) -> None:
        self._counts = counts
        self._every_s = every_s
        self._members: list[Counting] = []
        self._pending: dict[str, int] = {}
        self._known: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._counted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self, member: Counting) -> None:
        """From now on this one's counts are shared."""
        self._members.append(member)

    def wake(self) -> None:
        """Something was counted. Costs next to nothing."""
        if not self._counted.is_set():
            self._counted.set()
            if self._thread is None:
                self._start()

    def close(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._counted.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and self._every_s > 0:
                self._thread = threading.Thread(target=self._run, name="sharing", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._counted.wait()
            self._stopped.wait(self._every_s)
            try:
                if not self.share():
                    self._counted.clear()
            except Exception:
                log.exception("sharing_failed")

    def share(self) -> bool:
        """One round trip for all that is counted; False when nothing was."""
        now = monotonic_s()
        taken = {
            member.prefix + name: count
            for member in self._members
            for name, count in member.taken(used_since_s=now - FORGET_S).items()
        }
        for name in self._known.keys() - taken.keys():
            del self._known[name]
        for name, count in taken.items():
            self._pending[name] = self._pending.get(name, 0) + count
        if not self._pending:
            return False
        try:
            totals = self._counts.add(self._pending, keep_s=KEEP_S)
        except HotUnavailable as error:
            log.debug("counts_not_shared", reason=error.message)
            # Told later, but not for ever: what is no longer counted here matters to nobody.
            self._pending = {name: count for name, count in self._pending.items() if name in taken}
            return True
        told, self._pending = self._pending, {}
        for name, total in totals.items():
            known = self._known.get(name)
            self._known[name] = (total, now)
            if known is not None and (others := total - known[0] - told[name]) > 0:
                self._tell(name, others, known[1])
        return True

    def _tell(self, name: str, count: int, since_s: float) -> None:
        for member in self._members:
            if name.startswith(member.prefix):
                member.others(name.removeprefix(member.prefix), count, since_s=since_s)
