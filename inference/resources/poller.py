"""Reads a host's devices once a second, in a thread of the node agent: one poller per host, none in workers."""

import threading
from collections.abc import Callable
from dataclasses import replace

import structlog

from inference.clock import monotonic_s
from inference.resources.model import DeviceState, HostReading, lost
from inference.resources.probe import Probe

log = structlog.get_logger(__name__)

HANGS_S = 10.0
"""A driver answers within milliseconds. One that takes this long takes its devices with it."""


class Poller:
    """Owns the probe from here on. `latest` never waits for a driver."""

    def __init__(self, probe: Probe, *, every_s: float, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._probe, self._every_s, self._monotonic = probe, every_s, monotonic
        self._ended = threading.Event()
        self._latest = probe.read()
        self._read_s = monotonic()
        log.info("devices_found", source=self._latest.source.value, count=len(self._latest.devices))
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()

    def latest(self) -> HostReading:
        """The reading of at most a period ago. Where the driver hangs, or readings fail, its devices are lost."""
        reading = self._latest
        if self._monotonic() - self._read_s < self._every_s + HANGS_S:
            return reading
        return replace(reading, devices=tuple(lost(device) for device in reading.devices))

    def close(self) -> None:
        """Waits a moment for a reading under way, no longer."""
        self._ended.set()
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._probe.close()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                reading = self._probe.read()
            except Exception:
                # The outer edge of the thread: the next reading may go better.
                log.exception("devices_not_read")
                continue
            self._tell_changes(reading)
            self._latest, self._read_s = reading, self._monotonic()

    def _tell_changes(self, reading: HostReading) -> None:
        before = {device.uuid: device.state for device in self._latest.devices}
        for device in reading.devices:
            if before.get(device.uuid, device.state) is not device.state:
                log.warning("device_changed", device=device.uuid, state=device.state.value)
        for uuid in before.keys() - {device.uuid for device in reading.devices}:
            log.warning("device_changed", device=uuid, state=DeviceState.GONE.value)
