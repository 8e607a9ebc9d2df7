"""What a host has: its devices and their figures, each with the source it comes from."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """`nvml`: asked of the driver. `static`: read once from the operating system or configuration."""

    NVML = "nvml"
    STATIC = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card, named by its UUID: an index changes meaning from process to process."""

    index: int
    uuid: str
    name: str
    memory_bytes: int
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """`can_cuda`: the engine runtime installed here is the one for GPUs. CPUs and memory are what we may use."""

    cpus: float
    memory_bytes: int
    gpus: tuple[Gpu, ...]
    can_cuda: bool
    source: Source = Source.STATIC
