"""Reads a host's devices once a second, in a thread of the node agent: one poller per host, none in workers."""

import threading

import structlog

from inference.resources.model import HostReading
from inference.resources.probe import Probe

log = structlog.get_logger(__name__)


class Poller:
    """Owns the probe from here on. `latest` never waits for a driver: one that hangs costs fresh figures alone."""

    def __init__(self, probe: Probe, *, every_s: float) -> None:
        self._probe, self._every_s = probe, every_s
        self._ended = threading.Event()
        self._latest = self._read_first()
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()

    def latest(self) -> HostReading:
        """The reading of at most a period ago, unless the driver hangs: its `at` says when it was made."""
        return self._latest

    def close(self) -> None:
        """Waits a moment for a reading under way, no longer."""
        self._ended.set()
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._probe.close()

    def _read_first(self) -> HostReading:
        reading = self._probe.read()
        log.info("devices_found", source=reading.source.value, count=len(reading.devices))
        return reading

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                reading = self._probe.read()
            except Exception:
                # The outer edge of the thread: the next reading may go better.
                log.exception("devices_not_read")
                continue
            self._tell_changes(reading)
            self._latest = reading

    def _tell_changes(self, reading: HostReading) -> None:
        before = {device.uuid: device.state for device in self._latest.devices}
        for device in reading.devices:
            if before.get(device.uuid, device.state) is not device.state:
                log.warning("device_changed", device=device.uuid, state=device.state.value)
        for uuid in before.keys() - {device.uuid for device in reading.devices}:
            log.warning("device_changed", device=uuid, state="gone")
