"""What this process may use of its host's CPUs and memory, and how much of that is in use."""

import contextlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from inference.clock import monotonic_s
from inference.resources.model import Host

CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def look() -> Host:
    """The smaller of what the host has and what the container may have of it."""
    return Host(cpus=_cpus(CGROUP), memory_bytes=_memory_bytes(CGROUP), can_cuda=_has("onnxruntime-gpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """In percent of what `Host` says, 0 to 100."""

    cpu_percent: float
    memory_percent: float


class LoadMeter:
    """How busy the host is, or the container where it has limits of its own. For one thread."""

    def __init__(self, host: Host, *, cgroup: Path = CGROUP, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._host, self._cgroup, self._monotonic = host, cgroup, monotonic
        self._has_quota = _quota(cgroup) is not None
        self._has_limit = _limit(cgroup) is not None
        self._at_s, self._busy_s = monotonic(), self._busy()

    def read(self) -> Load:
        """CPU since the last call, memory now."""
        now_s, busy_s = self._monotonic(), self._busy()
        passed_s = max(now_s - self._at_s, 1e-3)
        cpus = self._host.cpus if self._has_quota else float(psutil.cpu_count() or 1)
        cpu = 100 * (busy_s - self._busy_s) / passed_s / cpus
        self._at_s, self._busy_s = now_s, busy_s
        return Load(cpu_percent=_percent(cpu), memory_percent=_percent(self._memory()))

    def _busy(self) -> float:
        if self._has_quota and (used := _cgroup_cpu_s(self._cgroup)) is not None:
            return used
        times = psutil.cpu_times()
        return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)

    def _memory(self) -> float:
        if self._has_limit and (used := _cgroup_memory(self._cgroup)) is not None:
            return 100 * used / max(self._host.memory_bytes, 1)
        memory = psutil.virtual_memory()
        return 100 * float(memory.total - memory.available) / float(memory.total)


def _percent(value: float) -> float:
    return round(min(max(value, 0.0), 100.0), 1)


def _cpus(cgroup: Path) -> float:
    """The smaller of the CPUs we may be scheduled on and the container's quota."""
    allowed = float(len(os.sched_getaffinity(0)))
    return min(allowed, _quota(cgroup) or allowed)


def _quota(cgroup: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        if quota != "max":
            return int(quota) / int(period)
    return None


def _memory_bytes(cgroup: Path) -> int:
    """The smaller of the host's memory and the container's limit."""
    lines = _MEMINFO.read_text().splitlines()
    total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    return min(total, _limit(cgroup) or total)


def _limit(cgroup: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int((cgroup / "memory.max").read_text())
    return None


def _cgroup_cpu_s(cgroup: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (cgroup / "cpu.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("usage_usec")) / 1e6
    return None


def _cgroup_memory(cgroup: Path) -> int | None:
    """Without the file cache that the kernel would drop first, as container tools count it."""
    with contextlib.suppress(OSError, ValueError):
        used = int((cgroup / "memory.current").read_text())
        lines = (cgroup / "memory.stat").read_text().splitlines()
        cache = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
        return max(used - cache, 0)
    return None


def _has(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
