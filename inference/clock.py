"""Time, in one place: aware UTC for people, epoch seconds for rows, monotonic for durations."""

import functools
import math
import re
import time
from datetime import UTC, datetime
from pathlib import Path

ISO_FORM = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
"""What `from_iso` reads, in words that both Python and JSON Schema understand: a date, or a date and a time."""

_ISO = re.compile(ISO_FORM)


def now() -> datetime:
    """The current instant, aware UTC."""
    return datetime.now(UTC)


def epoch_s() -> float:
    """Seconds since 1970, as rows keep them. Comparisons that decide belong to the database clock."""
    return time.time()


def monotonic_s() -> float:
    """For durations. On Linux every process of a host reads the same clock."""
    return time.monotonic()


def held_up_s() -> float:
    """Seconds that this thread could have run and was not let, since others had the cores; 0 where nobody counts them.

    Grows only: a duration less what it grew by meanwhile is what the duration would be on an idle machine, for work
    of one thread.
    """
    try:
        with Path("/proc/thread-self/schedstat").open("rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def iso(epoch: float | None) -> str | None:
    """ISO 8601 UTC with six decimals and `Z`; None stays None."""
    if epoch is None:
        return None
    seconds = math.floor(epoch)
    micros = round((epoch - seconds) * 1e6)
    if micros == 1_000_000:
        seconds, micros = seconds + 1, 0
    return f"{_to_the_second(seconds)}.{micros:06d}Z"


@functools.lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    """Most times that are told at a time are of the same few seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:-6]


def from_iso(text: str) -> float:
    """Epoch seconds of a text of ISO_FORM; one without an offset is taken as UTC. Raises ValueError, OverflowError."""
    if not _ISO.fullmatch(text):
        raise ValueError(text)
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return parsed.timestamp()
