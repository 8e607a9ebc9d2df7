"""Deletes entries that are too old, or too many, in short transactions."""

import time

from inference.logs.ports import LogsPorts

CHUNK = 2_000
MOST_CHUNKS = 500
REST_S = 0.02


def retain(ports: LogsPorts) -> int:
    """How many went. What is left after so many chunks goes the next time."""
    removed, settings = 0, ports.settings
    for _ in range(MOST_CHUNKS):
        count = ports.store.forget(keep_s=settings.keep_s, keep_rows=settings.keep_rows, limit=CHUNK)
        removed += count
        if count < CHUNK:
            break
        time.sleep(REST_S)  # on SQLite others want to write, too
    return removed
