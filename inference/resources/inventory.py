"""The JSON forms of what a node has: in its row, and in the rows of its devices."""

import json
from typing import Any

import msgspec

from inference.resources.host import Load
from inference.resources.model import Device, Figures, Host, HostReading, usable


def of_node(host: Host, reading: HostReading, load: Load | None = None) -> dict[str, Any]:
    """What a node row keeps. `gpus`: the devices that work may be placed on now, whatever their source, each with the
    memory that can be given away.
    """
    told: dict[str, Any] = {
        "cpus": host.cpus,
        "memory_bytes": host.memory_bytes,
        "source": host.source.value,
        "can_cuda": host.can_cuda,
        "gpus": [{**of_device(device), "memory_bytes": _grantable(device)} for device in usable(reading.devices)],
    }
    if load is not None:
        told |= {"cpu_percent": load.cpu_percent, "memory_percent": load.memory_percent}
    return told


def _grantable(device: Device) -> int:
    """What the driver keeps for itself, nobody can have."""
    return max(device.memory_bytes - (device.figures.memory_reserved_bytes or 0), 0)


def of_device(device: Device) -> dict[str, Any]:
    """What stays as it is while a device is there."""
    return {
        "index": device.index,
        "uuid": device.uuid,
        "name": device.name,
        "memory_bytes": device.memory_bytes,
        "source": device.source.value,
    }


def write_figures(figures: Figures) -> str:
    """Without what the device does not say."""
    told: dict[str, Any] = msgspec.to_builtins(figures)
    return json.dumps({name: value for name, value in told.items() if value is not None})


def read_figures(text: str) -> Figures:
    """Of a row; what a later version has added is left out."""
    return msgspec.convert(json.loads(text), Figures)
