"""The NVIDIA devices of this host, asked of the driver's library through `nvidia-ml-py`. Never touches CUDA."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from inference.clock import epoch_s, monotonic_s
from inference.resources.model import NOTHING, Device, DeviceState, Figures, HostReading, Source, lost
from inference.resources.xids import XidWatch

T = TypeVar("T")

LIBRARY = "libnvidia-ml.so.1"
RETRY_S = 30.0
"""A driver may be loaded, or come back, while we run."""

THROTTLES = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Bits of nvmlClocksEventReasons (nvml.h) that slow a card down; being idle and clocks set by hand are none of them."""


class NvmlProbe:
    """Opens the library at the first reading, and tries again now and then where there is none."""

    def __init__(self, *, clock: Callable[[], float] = epoch_s, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._nvml: Any = None
        self._retry_at = 0.0
        self._known: dict[str, Device] = {}
        self._xids: XidWatch | None = None

    def read(self) -> HostReading:
        """A device that answers no more is `lost`, as it was last seen; so are all while the driver is away."""
        devices = self._devices() if self._is_open() else [lost(device) for device in self._known.values()]
        self._known = {device.uuid: device for device in devices}
        return HostReading(devices=tuple(devices), source=Source.NVML, at=self._clock())

    def close(self) -> None:
        if self._xids is not None:
            self._xids.close()
            self._xids = None
        if self._nvml is not None:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _is_open(self) -> bool:
        if self._nvml is not None:
            return True
        if self._monotonic() < self._retry_at:
            return False
        self._retry_at = self._monotonic() + RETRY_S
        try:
            ctypes.CDLL(LIBRARY)
        except OSError:
            return False  # and the binding, 60 ms and 6 MB, is not loaded
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return False
        self._nvml = pynvml
        self._xids = XidWatch(pynvml, clock=self._clock)
        return True

    def _devices(self) -> list[Device]:
        error = self._nvml.NVMLError
        try:
            count = self._nvml.nvmlDeviceGetCount()
        except error:
            self.close()
            return [lost(device) for device in self._known.values()]
        return [device for index in range(count) for device in self._card(index)]

    def _card(self, index: int) -> Iterator[Device]:
        """A card, then the parts that it is cut into."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            card = self._device(handle, index=index)
        except nvml.NVMLError:
            yield from self._lost_at(index)
            return
        yield card
        if card.state is DeviceState.OK:
            yield from self._parts(handle, card)

    def _lost_at(self, index: int) -> Iterator[Device]:
        """What was known of a card that does not even say its UUID any more."""
        cards = [device for device in self._known.values() if device.parent_uuid is None and device.index == index]
        for card in cards:
            yield lost(card)
            yield from (lost(device) for device in self._known.values() if device.parent_uuid == card.uuid)

    def _parts(self, handle: Any, card: Device) -> Iterator[Device]:
        nvml = self._nvml
        mode = self._ask(lambda: nvml.nvmlDeviceGetMigMode(handle))
        if not mode or mode[0] != 1:
            return
        most = self._ask(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
        for position in range(most):
            with suppress(nvml.NVMLError):  # a place that holds no part
                part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, position)
                yield self._device(part, index=position, parent_uuid=card.uuid)

    def _device(self, handle: Any, *, index: int, parent_uuid: str | None = None) -> Device:
        """Raises NVMLError for a device that does not say who it is."""
        nvml = self._nvml
        uuid = str(nvml.nvmlDeviceGetUUID(handle))
        if self._xids is not None and parent_uuid is None:
            self._xids.watch(handle, uuid)
        known = self._known.get(uuid)
        try:
            name = str(self._ask(lambda: nvml.nvmlDeviceGetName(handle)) or (known.name if known else "NVIDIA device"))
            total, memory = self._memory(handle)
            figures = self._figures(handle, memory)
        except nvml.NVMLError:
            ill = known or Device(index=index, uuid=uuid, name="NVIDIA device", memory_bytes=0, source=Source.NVML)
            return replace(ill, state=DeviceState.LOST, figures=self._with_xids(NOTHING, uuid))
        return Device(
            index=index,
            uuid=uuid,
            name=name,
            memory_bytes=total or (known.memory_bytes if known else 0),
            source=Source.NVML,
            parent_uuid=parent_uuid,
            figures=self._with_xids(figures, uuid) if parent_uuid is None else figures,
        )

    def _memory(self, handle: Any) -> tuple[int, Figures]:
        """Version 2 keeps what the driver reserves out of `used`; drivers before 510 have version 1 alone."""
        nvml = self._nvml
        memory = self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2))
        reserved = None if memory is None else int(memory.reserved)
        memory = memory or self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        if memory is None:
            return 0, NOTHING
        figures = Figures(
            memory_used_bytes=int(memory.used), memory_free_bytes=int(memory.free), memory_reserved_bytes=reserved
        )
        return int(memory.total), figures

    def _figures(self, handle: Any, memory: Figures) -> Figures:
        nvml = self._nvml
        busy = self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        temperature = self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        power_mw = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
        if reasons is None:
            reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        corrected, uncorrected = (self._ecc(handle, kind) for kind in ("CORRECTED", "UNCORRECTED"))
        return replace(
            memory,
            utilisation_percent=None if busy is None else float(busy.gpu),
            temperature_c=None if temperature is None else float(temperature),
            power_w=None if power_mw is None else power_mw / 1000,
            throttle=None if reasons is None else tuple(word for bit, word in THROTTLES.items() if reasons & bit),
            ecc_corrected=corrected,
            ecc_uncorrected=uncorrected,
        )

    def _ecc(self, handle: Any, kind: str) -> int | None:
        nvml = self._nvml
        error_type = getattr(nvml, f"NVML_MEMORY_ERROR_TYPE_{kind}")
        return self._ask(lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, error_type, nvml.NVML_VOLATILE_ECC)))

    def _with_xids(self, figures: Figures, uuid: str) -> Figures:
        if self._xids is None or (told := self._xids.of(uuid)) is None:
            return figures
        return replace(figures, xid=told.code, xid_at=told.at, xids=told.count)

    def _ask(self, question: Callable[[], T]) -> T | None:
        """None for what this card or driver does not know. Raises NVMLError where the card itself is lost."""
        nvml = self._nvml
        try:
            return question()
        except nvml.NVMLError as error:
            if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
                raise
            return None
