"""Which entries tell of the same trouble: their text, without what differs from one time to the next."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

MOST_CHARS = 300
TOLD_BY = ("exception", "error", "reason", "message", "error_message", "cause")
"""Where an entry says what went wrong, the first that is there."""

_STEPS = (
    (re.compile(r"https?://\S+"), "<url>"),
    (re.compile(r"(?<![\w.])/[\w./@+-]+"), "<path>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?"), "<n>"),
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "<text>"),
    (re.compile(r"\s+"), " "),
)


def message(event: str, fields: Mapping[str, Any]) -> str:
    """One line for people: the event, and what went wrong where the entry says so."""
    for name in TOLD_BY:
        if text := str(fields.get(name) or "").strip():
            # Of a traceback the last line names the error.
            return f"{event}: {text.splitlines()[-1].strip()}"
    return event


def normal(text: str) -> str:
    """The text without numbers, ids, times, paths, addresses and quoted words."""
    text = text[: 4 * MOST_CHARS]
    for pattern, instead in _STEPS:
        text = pattern.sub(instead, text)
    return text.strip()[:MOST_CHARS]


def fingerprint(event: str, fields: Mapping[str, Any]) -> str:
    """The same for entries that differ in such details alone: 16 hex digits."""
    return hashlib.sha256(normal(message(event, fields)).encode("utf-8", "replace")).hexdigest()[:16]
