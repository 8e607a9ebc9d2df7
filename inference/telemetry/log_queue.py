"""The entries of this process that wait to be kept: bounded, and filled without waiting for anybody."""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

LEVELS = {name: number for name, number in logging.getLevelNamesMapping().items() if number % 10 == 0 and number}


class LogQueue:
    """Any thread puts, one takes. When it is full new entries are shed and counted: what waits longest is the cause."""

    def __init__(self, *, most: int, level: int) -> None:
        self._most, self._level = most, level
        self._entries: deque[Mapping[str, Any]] = deque()
        self._shed = 0
        self._lock = threading.Lock()
        self.news = threading.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, fields: Mapping[str, Any]) -> None:
        """Never blocks, never raises. `fields` must not change any more."""
        if LEVELS.get(str(fields.get("level", "")).upper(), 0) < self._level:
            return
        if len(self._entries) >= self._most:
            with self._lock:
                self._shed += 1
            return
        self._entries.append(fields)
        if not self.news.is_set():
            self.news.set()

    def take(self, most: int) -> Sequence[Mapping[str, Any]]:
        """The oldest; they stay until they are `dropped`."""
        return [self._entries[at] for at in range(min(most, len(self._entries)))]

    def drop(self, count: int) -> None:
        """Forgets the oldest: they are kept elsewhere by now."""
        for _ in range(count):
            self._entries.popleft()

    def take_shed(self) -> int:
        """How many were shed since the last call."""
        with self._lock:
            count, self._shed = self._shed, 0
        return count


class Here:
    """Where the queue of this process is, once somebody keeps what is in it. `is_logging`: whether anything comes.

    `role`: as which part of the system this process logs.
    """

    is_logging = False
    role = ""
    queue: LogQueue | None = None


def offer(fields: Mapping[str, Any]) -> None:
    """To the queue, if there is one."""
    if (queue := Here.queue) is not None:
        queue.put(fields)
