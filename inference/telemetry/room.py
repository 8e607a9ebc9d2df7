"""Room for figures is taken on disk before they are written, since a full disk would end the process.

prometheus-client maps a file with holes; a hole that cannot be filled is a SIGBUS at the next count.
"""

import os
from contextlib import suppress
from typing import Any

from prometheus_client import mmap_dict, values

FIRST_BYTES = 1 << 16
LONGEST_BYTES = 4096
"""More than a figure with its labels takes."""


_Library: Any = mmap_dict.MmapedDict  # it has no types


class Roomy(_Library):  # type: ignore[misc]
    """A figure for which there is no room is not kept; the count goes on without it."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode:
            with open(filename, "ab") as file:  # noqa: PTH123 - the library's own way, and a path it made
                if file.tell() == 0:
                    os.posix_fallocate(file.fileno(), 0, FIRST_BYTES)
        super().__init__(filename, read_mode)

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + LONGEST_BYTES > self._capacity:
            os.posix_fallocate(self._f.fileno(), 0, self._capacity * 2)
        super()._init_value(key)

    def read_value(self, key: str) -> tuple[float, float]:
        try:
            value, at = super().read_value(key)
        except OSError:
            return 0.0, 0.0
        return float(value), float(at)

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        with suppress(OSError):
            super().write_value(key, value, timestamp)


def take_room() -> None:
    """From now on files of figures are made so. Call it before the first metric."""
    vars(values)["MmapedDict"] = Roomy
