"""What the processes of each replica use of CPU and memory, by their session, read from /proc in one pass."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.clock import monotonic_s

PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# Fields after the command's name, counted from 0. Source: proc_pid_stat(5).
_SESSION, _UTIME, _STIME, _STARTED, _RSS = 3, 11, 12, 19, 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of all processes of one session together. `cpu_percent`: since the last look, 100 is one core.

    `cpu_s`: since the session began. `rss_bytes`: pages that several of them share count for each.
    """

    cpu_percent: float
    cpu_s: float
    rss_bytes: int
    processes: int


@dataclass(slots=True)
class _Session:
    cpu_s: float = 0.0
    fresh_s: float = 0.0
    rss_bytes: int = 0
    processes: int = 0


class UsageMeter:
    """Remembers what each process had used before, so that the end of one is not a step back. For one thread."""

    def __init__(self, *, proc: Path = PROC, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._proc, self._monotonic = str(proc), monotonic
        self._before: dict[tuple[int, int], float] = {}
        self._totals: dict[int, float] = {}
        self._at_s = monotonic()

    def read(self, leaders: Iterable[int]) -> Mapping[int, Usage]:
        """By the process id of each session's leader; one without a living process is left out."""
        found = {leader: _Session() for leader in leaders}
        now_s = self._monotonic()
        passed_s = max(now_s - self._at_s, 1e-3)
        self._at_s = now_s
        before, self._before = self._before, {}
        if found:
            self._look(found, before)
        self._totals = {leader: self._totals.get(leader, 0.0) + one.fresh_s for leader, one in found.items()}
        return {
            leader: Usage(
                cpu_percent=round(100 * one.fresh_s / passed_s, 1),
                cpu_s=round(self._totals[leader], 2),
                rss_bytes=one.rss_bytes,
                processes=one.processes,
            )
            for leader, one in found.items()
            if one.processes
        }

    def _look(self, found: Mapping[int, _Session], before: Mapping[tuple[int, int], float]) -> None:
        for entry in os.scandir(self._proc):
            if not entry.name.isdigit():
                continue
            try:
                with open(f"{self._proc}/{entry.name}/stat", "rb") as file:  # noqa: PTH123 - a Path costs as much again
                    fields = file.read().rpartition(b")")[2].split()
                one = found.get(int(fields[_SESSION]))
                if one is None:
                    continue
                key = int(entry.name), int(fields[_STARTED])
                cpu_s = (int(fields[_UTIME]) + int(fields[_STIME])) * _TICK_S
                one.rss_bytes += int(fields[_RSS]) * _PAGE
            except (OSError, IndexError, ValueError):
                continue  # it ended while we looked
            self._before[key] = cpu_s
            one.fresh_s += max(cpu_s - before.get(key, 0.0), 0.0)
            one.processes += 1
