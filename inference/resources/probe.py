"""Where the figures of a host's devices come from: NVML, configuration, or a recording."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from inference.resources.model import Device, HostReading
from inference.settings import ResourcesSettings


class Probe(Protocol):
    """The devices of this host. For one thread at a time."""

    def read(self) -> HostReading:
        """What they are and do now. Never raises for a device that is ill or for a driver that is missing."""
        ...

    def close(self) -> None: ...


class Narrowed:
    """A probe that shows what CUDA_VISIBLE_DEVICES leaves of another."""

    def __init__(self, inner: Probe, visible: str) -> None:
        self._inner, self._visible = inner, visible

    def read(self) -> HostReading:
        found = self._inner.read()
        chosen = tuple(choose(found.devices, self._visible))
        return HostReading(devices=chosen, source=found.source, at=found.at)

    def close(self) -> None:
        self._inner.close()


def connect(settings: ResourcesSettings, *, visible: str | None = None) -> Probe:
    """The probe that the settings ask for; NVML unless they name devices or a recording.

    `visible`: CUDA_VISIBLE_DEVICES as the process found it; it hides cards that NVML shows. Raises BadSettings.
    """
    if settings.devices:
        from inference.resources.probe_static import StaticProbe

        return StaticProbe.of(settings.devices)
    if settings.replay:
        from inference.resources.probe_replay import ReplayProbe

        return ReplayProbe.of(Path(settings.replay))
    from inference.resources.probe_nvml import NvmlProbe

    probe = NvmlProbe()
    return probe if visible is None else Narrowed(probe, visible)


def check(settings: ResourcesSettings) -> None:
    """Raises BadSettings for devices, or a recording, that cannot be used; asks no driver."""
    if is_simulated(settings):
        connect(settings).close()


def is_simulated(settings: ResourcesSettings) -> bool:
    """Whether the devices of this host are named by its configuration: no engine can compute on them."""
    return bool(settings.devices or settings.replay)


def choose(devices: Sequence[Device], visible: str | None) -> list[Device]:
    """The devices that CUDA would show, in its order; like CUDA it stops at the first name that fits none.

    A card that is cut into MIG devices stands for all of them.
    Source: CUDA C++ programming guide, environment variables.
    """
    if visible is None:
        return list(devices)
    chosen: list[Device] = []
    for word in (part.strip() for part in visible.split(",")):
        fitting = [device for device in devices if word and (_is_index(word, device) or device.uuid.startswith(word))]
        if len(fitting) != 1:
            break
        chosen += fitting
        chosen += [device for device in devices if device.parent_uuid == fitting[0].uuid]
    return chosen


def _is_index(word: str, device: Device) -> bool:
    return device.parent_uuid is None and word == str(device.index)
