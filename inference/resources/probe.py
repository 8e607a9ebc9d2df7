"""The devices of this host, asked of NVML and of the operating system."""

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inference.resources.model import Gpu, Host, Source

CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def host(*, visible: str | None = None) -> Host:
    """What this process may use. `visible`: CUDA_VISIBLE_DEVICES as the process found it; None hides nothing."""
    return Host(
        cpus=_cpus(CGROUP),
        memory_bytes=_memory_bytes(CGROUP),
        gpus=tuple(choose(list(_gpus()), visible)),
        can_cuda=_has("onnxruntime-gpu"),
    )


def inventory(found: Host) -> dict[str, Any]:
    """The JSON form that a node row keeps."""
    return {
        "cpus": found.cpus,
        "memory_bytes": found.memory_bytes,
        "source": found.source.value,
        "can_cuda": found.can_cuda,
        "gpus": [
            {
                "index": gpu.index,
                "uuid": gpu.uuid,
                "name": gpu.name,
                "memory_bytes": gpu.memory_bytes,
                "source": gpu.source.value,
            }
            for gpu in found.gpus
        ],
    }


def choose(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs that CUDA would show, in its order; like CUDA it stops at the first name that fits none.

    Source: CUDA C++ programming guide, environment variables.
    """
    if visible is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for word in (part.strip() for part in visible.split(",")):
        fitting = [gpu for gpu in gpus if word and (word == str(gpu.index) or gpu.uuid.startswith(word))]
        if len(fitting) != 1:
            break
        chosen += fitting
    return chosen


def _gpus() -> Iterator[Gpu]:
    """Nothing where there is no driver; a card that does not answer is left out."""
    import pynvml  # 60 ms, and needed by node agents alone

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            with contextlib.suppress(pynvml.NVMLError):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                yield Gpu(
                    index=index,
                    uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
                    name=_text(pynvml.nvmlDeviceGetName(handle)),
                    memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                    source=Source.NVML,
                )
    finally:
        pynvml.nvmlShutdown()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpus(cgroup: Path) -> float:
    """The smaller of the CPUs we may be scheduled on and the container's quota."""
    allowed = float(len(os.sched_getaffinity(0)))
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        if quota != "max":
            return min(allowed, int(quota) / int(period))
    return allowed


def _memory_bytes(cgroup: Path) -> int:
    """The smaller of the host's memory and the container's limit."""
    lines = _MEMINFO.read_text().splitlines()
    total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    with contextlib.suppress(OSError, ValueError):
        return min(total, int((cgroup / "memory.max").read_text()))
    return total


def _has(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
