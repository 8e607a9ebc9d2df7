"""Readings of one card while something else runs, each with the source it comes from."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from benchmarks.percentiles import median

EVERY_S = 0.1
NVML, REPLAY = "nvml", "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`busy_share`: of the driver's last sample period, with any kernel at all running; not how full the card was."""

    busy_share: float
    memory_bytes: int
    power_w: float


class Card(Protocol):
    """`source` is printed beside every figure that comes from here."""

    source: str
    facts: dict[str, Any]

    def read(self) -> Reading: ...


class NvmlCard:
    """Asks the driver. Totals of the card: a container sees other people's use of it too. Raises pynvml.NVMLError."""

    source = NVML

    def __init__(self, uuid: str) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        version = pynvml.nvmlSystemGetCudaDriverVersion()
        self.facts = {
            "name": pynvml.nvmlDeviceGetName(self._handle),
            "uuid": uuid,
            "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(self._handle).total),
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "cuda_of_driver": f"{version // 1000}.{version % 1000 // 10}",
        }

    def read(self) -> Reading:
        nvml = self._nvml
        try:
            power_w = nvml.nvmlDeviceGetPowerUsage(self._handle) / 1000
        except nvml.NVMLError:  # not told inside some virtual machines
            power_w = 0.0
        return Reading(
            busy_share=nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100,
            memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(self._handle).used),
            power_w=power_w,
        )


class ReplayedCard:
    """Gives again what an earlier report has read, in a circle: a rehearsal, and its figures say so."""

    source = REPLAY

    def __init__(self, report: Path) -> None:
        told = json.loads(report.read_text())
        self.facts = {**told["card"]["facts"], "replayed_from": report.name}
        self._readings = [Reading(**reading) for reading in told["card"]["readings"]]
        self._next = 0

    def read(self) -> Reading:
        reading = self._readings[self._next % len(self._readings)]
        self._next += 1
        return reading


def find(visible: str | None, replay: Path | None = None) -> tuple[Card | None, str]:
    """The first card that CUDA would show, or None and a sentence why there is none."""
    if replay is not None:
        return ReplayedCard(
            replay
        ), f"The card's figures are replayed from {replay.name}: this run has not read a card."
    from inference.resources import probe
    from inference.resources.model import usable
    from inference.settings import ResourcesSettings

    found = probe.connect(ResourcesSettings(), visible=visible)
    gpus = usable(found.read().devices)
    found.close()
    if not gpus:
        return None, "NVML shows no GPU here (no driver, or CUDA_VISIBLE_DEVICES hides it): the figures are the CPU's."
    return NvmlCard(gpus[0].uuid), ""


class Watch:
    """Reads the card ten times a second on a thread of its own: `with Watch(card) as seen: ...; seen.summary()`."""

    def __init__(self, card: Card | None, *, every_s: float = EVERY_S) -> None:
        self._card, self._every_s = card, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.readings: list[Reading] = []

    def __enter__(self) -> "Watch":
        if self._card is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        assert self._card is not None
        while not self._ended.is_set():
            self.readings.append(self._card.read())
            self._ended.wait(self._every_s)

    def summary(self) -> dict[str, Any] | None:
        """The middle and largest values with their source; None without a card."""
        return summary(self.readings, self._card.source) if self._card is not None and self.readings else None


def summary(readings: Sequence[Reading], source: str) -> dict[str, Any]:
    """`busy_share`: the mean; memory and power: the largest seen."""
    return {
        "source": source,
        "readings": len(readings),
        "busy_share": sum(reading.busy_share for reading in readings) / len(readings),
        "busy_share_p50": median([reading.busy_share for reading in readings]),
        "memory_bytes": max(reading.memory_bytes for reading in readings),
        "power_w": max(reading.power_w for reading in readings),
    }


def settled_bytes(card: Card | None, *, within_s: float = 6.0, tolerance_bytes: int = 4 << 20) -> int | None:
    """Memory in use once two looks half a second apart agree: it comes back up to 1.5 s after a process has gone."""
    if card is None:
        return None
    end, before = time.monotonic() + within_s, card.read().memory_bytes
    while time.monotonic() < end:
        time.sleep(0.5)
        now = card.read().memory_bytes
        if abs(now - before) <= tolerance_bytes:
            return now
        before = now
    return before


def thinned(readings: Sequence[Reading], most: int = 200) -> list[dict[str, Any]]:
    """At most so many of them, evenly, as plain data: enough for a replay."""
    step = max(1, -(-len(readings) // most))
    return [asdict(reading) for reading in readings[::step]]
