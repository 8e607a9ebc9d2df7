"""Devices out of a recording of a real card: JSON lines, played in a loop with the timing they were made in."""

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from inference.clock import epoch_s, monotonic_s
from inference.errors import BadSettings
from inference.resources.model import Device, HostReading, Source

FORMAT = "penstock-devices-1"
LIMIT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """`at_s`: seconds since the recording began."""

    at_s: float
    devices: tuple[Device, ...]


class ReplayProbe:
    """Shows what the recording shows at this point of time; after its last line it begins anew."""

    def __init__(
        self,
        frames: Sequence[Frame],
        *,
        clock: Callable[[], float] = epoch_s,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        self._frames, self._starts = frames, [frame.at_s for frame in frames]
        # The last line is shown for as long as the one before it was.
        self._length_s = 2 * self._starts[-1] - self._starts[-2] if len(frames) > 1 else 1.0
        self._clock, self._monotonic = clock, monotonic
        self._began_s = monotonic()

    @classmethod
    def of(cls, path: Path) -> "ReplayProbe":
        """Raises BadSettings."""
        return cls(read(path))

    def read(self) -> HostReading:
        at_s = (self._monotonic() - self._began_s) % self._length_s
        frame = self._frames[max(0, bisect_right(self._starts, at_s) - 1)]
        return HostReading(devices=frame.devices, source=Source.REPLAY, at=self._clock())

    def close(self) -> None:
        """There is nothing to close."""


def read(path: Path) -> list[Frame]:
    """The recording at `path`; its devices carry the source `replay`. Raises BadSettings, which names the line."""
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise _bad(f"{path} is larger than {LIMIT_BYTES >> 20} MiB")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{path} cannot be read: {error}") from error
    if not lines or _json(lines[0], 1).get("format") != FORMAT:
        raise _bad(f'{path} does not begin with {{"format": "{FORMAT}"}}: it is no recording of `penstock gpus`')
    frames = [_frame(line, number) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if not frames:
        raise _bad(f"{path} holds no reading")
    if not all(later.at_s > earlier.at_s >= 0 for earlier, later in pairwise(frames)):
        raise _bad(f"{path}: at_s must grow from line to line, from 0 or more")
    return frames


def header(*, source: Source, note: str) -> str:
    """The first line of a recording. `note`: where its figures come from."""
    return json.dumps({"format": FORMAT, "source": source.value, "note": note})


def line(reading: HostReading, *, began_at: float) -> str:
    """One more line of it."""
    content: Any = msgspec.to_builtins(reading.devices)
    return json.dumps({"at_s": round(reading.at - began_at, 3), "devices": content})


def _frame(text: str, number: int) -> Frame:
    try:
        frame = msgspec.convert(_json(text, number), Frame)
    except msgspec.ValidationError as error:
        raise _bad(f"line {number}: {error}") from error
    devices = tuple(replace(device, source=Source.REPLAY) for device in frame.devices)
    return replace(frame, devices=devices)


def _json(text: str, number: int) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _bad(f"line {number} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise _bad(f"line {number} is no JSON object")
    return content


def _bad(what: str) -> BadSettings:
    return BadSettings(f"PENSTOCK_RESOURCES__REPLAY: {what}.", name="PENSTOCK_RESOURCES__REPLAY")
