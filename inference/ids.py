"""Identifiers: 32 hex characters, ordered by time (UUID version 7), made by whoever creates the row."""

import os
import re
import time

DEFAULT_TENANT = "default"

FORM = "[0-9a-f]{32}"

_FORM = re.compile(FORM)


def new_id() -> str:
    """A fresh id. Ids made later sort later, to the millisecond, so that inserts stay at the index's end.

    Source: RFC 9562, section 5.7.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    high, low = random >> 68, random & ((1 << 62) - 1)
    return f"{(milliseconds << 80) | (7 << 76) | (high << 64) | (2 << 62) | low:032x}"


def is_id(text: str) -> bool:
    """True for a text that `new_id` could have made."""
    return _FORM.fullmatch(text) is not None
