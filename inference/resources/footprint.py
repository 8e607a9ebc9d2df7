"""What loading a model really took: the growth of this process, or of what is used of its card."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from inference.resources.estimate import MemoryNeed
from inference.resources.model import Source

STATUS = Path("/proc/self/status")
NAMESPACE = Path("/proc/self/ns/pid")
_FIRST_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of the Linux kernel
LEAST_BYTES = 1 << 20
"""Less growth than this is noise: nothing is known then."""


class Footprint:
    """Begins before the engine is made. Asks NVML only where the device is a card. For one thread."""

    def __init__(self, device: str, *, status: Path = STATUS) -> None:
        """`device`: cpu, or a card's UUID; of one that NVML does not know, nothing is told."""
        self._status = status
        self._card = None if device == "cpu" else _Card.find(device)
        self._before = _anonymous_bytes(status)
        self._used_before = self._card.used() if self._card else None

    def taken(self, provider: str) -> MemoryNeed | None:
        """Since the beginning, by an engine that now runs on `provider`; None when nobody can tell."""
        if provider == "cpu":
            before, after = self._before, _anonymous_bytes(self._status)
            return _grown(before, after, "measured: growth of the process at load and its largest batch")
        if self._card is None:
            return None
        if _is_outermost() and (own := self._card.of_process(os.getpid())):
            return _grown(
                0, own, f"measured by {Source.NVML}: what the process has of the card after its largest batch"
            )
        used = self._card.used()
        return _grown(self._used_before, used, f"measured by {Source.NVML}: growth of the card's use at load")

    def close(self) -> None:
        if self._card is not None:
            self._card.close()


def _grown(before: int | None, after: int | None, basis: str) -> MemoryNeed | None:
    if before is None or after is None or after - before < LEAST_BYTES:
        return None
    return MemoryNeed(bytes=after - before, basis=basis)


def _anonymous_bytes(status: Path) -> int | None:
    """Without pages of files: libraries, and weights that instances share, are there once for all of them."""
    with suppress(OSError, ValueError, StopIteration):
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024
    return None


def _is_outermost() -> bool:
    """Whether our process numbers are the host's, in which the driver counts; in a container they are not."""
    with suppress(OSError):
        return NAMESPACE.stat().st_ino == _FIRST_NAMESPACE
    return False


class _Card:
    """NVML's view of one card, or part of one."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    @classmethod
    def find(cls, uuid: str) -> "_Card | None":
        import pynvml

        try:
            pynvml.nvmlInit()
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
        except pynvml.NVMLError:
            return None

    def used(self) -> int | None:
        """By whomever: what others load meanwhile counts as well."""
        with suppress(self._nvml.NVMLError):
            return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        return None

    def of_process(self, pid: int) -> int | None:
        """None where the driver does not list it."""
        with suppress(self._nvml.NVMLError):
            for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle):
                if process.pid == pid and process.usedGpuMemory:
                    return int(process.usedGpuMemory)
        return None

    def close(self) -> None:
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()
