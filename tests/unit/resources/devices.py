"""Devices that the tests of resources begin with."""

from inference.resources.model import NOTHING, Device, DeviceState, Figures, HostReading, Source


def device(
    index: int = 0,
    uuid: str = "GPU-aa",
    *,
    parent: str | None = None,
    state: DeviceState = DeviceState.OK,
    source: Source = Source.NVML,
    figures: Figures = NOTHING,
) -> Device:
    return Device(
        index=index,
        uuid=uuid,
        name="card",
        memory_bytes=1 << 34,
        source=source,
        parent_uuid=parent,
        state=state,
        figures=figures,
    )


def reading(*devices: Device, source: Source = Source.NVML) -> HostReading:
    return HostReading(devices=devices, source=source, at=1000.0)
