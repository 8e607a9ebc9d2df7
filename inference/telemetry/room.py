"""Room for figures is taken on disk before they are written, since a full disk would end the process.

prometheus-client maps a file with holes; a hole that cannot be filled is a SIGBUS at the next count.
"""

import errno
import mmap
import os
import sys
from contextlib import suppress
from typing import Any

from prometheus_client import mmap_dict, values

FIRST_BYTES = 1 << 16
FIRST_AT = 8
"""Where the first figure stands; before it, how much is used."""
LONGEST_BYTES = 4096
"""More than a figure with its labels takes."""


_Library: Any = mmap_dict.MmapedDict  # it has no types


class Roomy(_Library):  # type: ignore[misc]
    """A figure for which there is no room is not kept; the count goes on without it."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if read_mode:
            super().__init__(filename, read_mode)
            return
        try:
            with open(filename, "ab") as file:  # noqa: PTH123 - the library's own way, and a path it made
                if file.tell() == 0:
                    os.posix_fallocate(file.fileno(), 0, FIRST_BYTES)
            super().__init__(filename, read_mode)
        except OSError:
            self._stay_in_memory(filename)

    def _stay_in_memory(self, filename: str) -> None:
        """A process that starts while the disk is full counts for itself alone; raising here would leave the library
        with files that are half closed, and every later count would fail.
        """
        self._f: Any = None
        self._fname, self._capacity = filename, FIRST_BYTES
        self._m = mmap.mmap(-1, FIRST_BYTES)
        self._positions: dict[str, int] = {}
        self._used = FIRST_AT
        self._m[:FIRST_AT] = FIRST_AT.to_bytes(FIRST_AT, sys.byteorder)

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + LONGEST_BYTES > self._capacity:
            if self._f is None:
                raise OSError(errno.ENOSPC, "no room for another figure")
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
