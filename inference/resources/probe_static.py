"""Devices out of the configuration: of hosts without a card, and of those whose driver cannot be asked."""

import json
from collections.abc import Callable
from typing import Any

from inference.clock import epoch_s
from inference.errors import BadSettings
from inference.resources import sizes
from inference.resources.model import Device, HostReading, Source

NAME = "PENSTOCK_RESOURCES__DEVICES"
KEYS = ("uuid", "name", "memory")
UUID_LENGTH = 96


class StaticProbe:
    """They have a size and no figures: what is used of them, the leases alone can say."""

    def __init__(self, devices: tuple[Device, ...], *, clock: Callable[[], float] = epoch_s) -> None:
        self._devices, self._clock = devices, clock

    @classmethod
    def of(cls, text: str) -> "StaticProbe":
        """Raises BadSettings."""
        return cls(parse(text))

    def read(self) -> HostReading:
        return HostReading(devices=self._devices, source=Source.STATIC, at=self._clock())

    def close(self) -> None:
        """There is nothing to close."""


def parse(text: str) -> tuple[Device, ...]:
    """The devices that PENSTOCK_RESOURCES__DEVICES lists. Raises BadSettings."""
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise _bad(f"is no JSON: {error}") from error
    if not isinstance(listed, list):
        raise _bad('must be a list such as [{"uuid": "sim-0", "name": "card", "memory": "24Gi"}]')
    devices = tuple(_device(index, entry) for index, entry in enumerate(listed))
    if len({device.uuid for device in devices}) < len(devices):
        raise _bad("names one uuid twice")
    return devices


def _device(index: int, entry: Any) -> Device:
    if not isinstance(entry, dict) or not set(entry) <= set(KEYS) or "uuid" not in entry or "memory" not in entry:
        raise _bad(f"must give each device uuid and memory, perhaps a name, and nothing else: entry {index} does not")
    uuid, name, size = entry["uuid"], entry.get("name", "static device"), sizes.bytes_of(entry["memory"])
    if not isinstance(uuid, str) or not 0 < len(uuid) <= UUID_LENGTH or not uuid.isprintable() or uuid == "cpu":
        raise _bad(f"entry {index}: uuid must be 1 to {UUID_LENGTH} printable characters, and not 'cpu'")
    if not isinstance(name, str) or not name.isprintable():
        raise _bad(f"entry {index}: name must be printable")
    if not size:
        raise _bad(f'entry {index}: memory must be a size such as "24Gi", above 0')
    return Device(index=index, uuid=uuid, name=name, memory_bytes=size, source=Source.STATIC)


def _bad(what: str) -> BadSettings:
    return BadSettings(f"{NAME} {what}.", name=NAME)
