"""Figures of requests, handed over without a lock and booked by one thread.

prometheus-client guards every figure of a process with one lock: with 32 threads at it, a seventh of a submit.
"""

import threading
import time
import weakref
from collections import deque
from typing import Any

from inference.telemetry import metrics

EVERY_S = 0.25


class RequestFigures:
    """Counts and times of requests by route. What was noted shows in the metrics within `EVERY_S`."""

    def __init__(self) -> None:
        self._noted: deque[tuple[str, int, float]] = deque()
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._thread: threading.Thread | None = None

    def note(self, route: str, status: int, seconds: float) -> None:
        """Never waits. The thread is started by the first request: a fork before it would lose it."""
        self._noted.append((route, status, seconds))
        if self._thread is None:
            self._thread = threading.Thread(target=_book, args=(weakref.ref(self),), name="figures", daemon=True)
            self._thread.start()

    def book(self) -> None:
        """Books what was noted so far."""
        for _ in range(len(self._noted)):
            route, status, seconds = self._noted.popleft()
            requests, times = self._child(route, status)
            requests.inc()
            times.observe(seconds)

    def _child(self, route: str, status: int) -> tuple[Any, Any]:
        found = self._children.get((route, status))
        if found is None:
            found = metrics.http_requests.labels(route, str(status)), metrics.http_time.labels(route)
            self._children[route, status] = found
        return found


def _book(of: "weakref.ref[RequestFigures]") -> None:
    """Until nobody has them any more, so that a test's many apps leave no threads behind."""
    while (figures := of()) is not None:
        figures.book()
        del figures
        time.sleep(EVERY_S)
