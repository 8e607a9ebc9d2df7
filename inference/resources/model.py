"""What a host has: its devices and their figures, each with the source it comes from."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Source(StrEnum):
    """`nvml`: asked of the driver. `static`: from configuration or the operating system. `replay`: from a file."""

    NVML = "nvml"
    STATIC = "static"
    REPLAY = "replay"


class DeviceState(StrEnum):
    """`lost`: it is there and answers no more. `gone`: the host does not list it any longer."""

    OK = "ok"
    LOST = "lost"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a device says of itself at one moment. None: it does not say.

    `memory_reserved_bytes`: kept by the driver, in neither `used` nor `free`. `utilisation_percent`: of the time, in
    which a kernel ran. `throttle`: why it runs slower than it could. `ecc_*`: errors since the driver was loaded.
    `xid`: the code of the driver's last error report, at `xid_at` (epoch), `xids`: how many since the agent began.
    """

    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    xid: int | None = None
    xid_at: float | None = None
    xids: int | None = None


NOTHING = Figures()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A card or a part of one, named by its UUID: an index changes meaning from process to process.

    `parent_uuid`: the card that a MIG device is part of; that card can be given to nobody as a whole.
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int
    source: Source
    parent_uuid: str | None = None
    state: DeviceState = DeviceState.OK
    figures: Figures = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """The devices of a host at one moment (`at`: epoch seconds), by index; MIG devices after their card."""

    devices: tuple[Device, ...]
    source: Source
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """`can_cuda`: the engine runtime installed here is the one for GPUs. CPUs and memory are what we may use."""

    cpus: float
    memory_bytes: int
    can_cuda: bool
    source: Source = Source.STATIC


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDevice:
    """A device as its node last reported it. `is_alive`: the node has been heard lately."""

    node_id: str
    device: Device
    reported_at: float
    is_alive: bool


def lost(device: Device) -> Device:
    """The device as it was last seen, which answers no more: of its figures only what the driver has reported stays."""
    told = device.figures
    figures = Figures(xid=told.xid, xid_at=told.xid_at, xids=told.xids)
    return replace(device, state=DeviceState.LOST, figures=figures)


def is_usable(device: Device, parents: frozenset[str]) -> bool:
    """Whether work may be placed on it. `parents`: the cards that are cut into MIG devices."""
    return device.state is DeviceState.OK and device.uuid not in parents


def usable(devices: "tuple[Device, ...]") -> tuple[Device, ...]:
    """Those that work may be placed on: what answers, and a card that is cut up through its parts only."""
    parents = frozenset(device.parent_uuid for device in devices if device.parent_uuid is not None)
    return tuple(device for device in devices if is_usable(device, parents))
