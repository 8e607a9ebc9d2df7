"""Sizes as people write them: 16Gi, 512M, or a number of bytes."""

import re
from typing import Any

FORM = "([0-9]+(?:[.][0-9]+)?) *([KMGTP]i?)?B?"
LENGTH = 32
MAX_BYTES = 1 << 60

_SIZE = re.compile(FORM)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1 << (10 * power) for power, letter in enumerate("KMGTP", start=1)
}


def bytes_of(value: Any) -> int | None:
    """None for what is no size, or one of 1 EiB and more."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < MAX_BYTES else None
    parsed = _SIZE.fullmatch(value) if isinstance(value, str) and len(value) <= LENGTH else None
    size = float(parsed[1]) * _UNITS[parsed[2] or ""] if parsed else MAX_BYTES
    return int(size) if size < MAX_BYTES else None
