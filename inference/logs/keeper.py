"""Takes the entries of this process to the store, in a thread of its own: nobody who logs ever waits for it."""

import random
import threading
from collections.abc import Callable, Sequence

import structlog

from inference import clock
from inference.errors import DataRefused, PenstockError
from inference.logs.model import Row, row
from inference.logs.ports import LogStore
from inference.settings import LogsSettings
from inference.telemetry.log_queue import LEVELS, Here, LogQueue

log = structlog.get_logger(__name__)

MOST_ROWS = 200
"""Entries in a transaction: on SQLite nobody else writes meanwhile."""
PAUSE_S = 0.25
AGAIN_S = (0.5, 5.0)


class Keeper:
    """One in a process. Without entries it sleeps, and costs nothing. `shed` is told how many entries were lost.

    Entries of a process that is killed are lost from the store, up to those of the last quarter of a second; its log
    file has them.
    """

    def __init__(self, store: LogStore, settings: LogsSettings, *, shed: Callable[[int], None]) -> None:
        self._store, self._shed = store, shed
        self.queue = LogQueue(most=settings.queue, level=LEVELS[settings.level.upper()])
        self._tick = random.randrange(1 << 12)  # noqa: S311 - no secret
        self._is_stopping = threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="log-keeper", daemon=True)

    def start(self) -> "Keeper":
        """From now on what this process logs is kept."""
        Here.queue = self.queue
        self._thread.start()
        return self

    def close(self, *, limit_s: float = 2.0) -> None:
        """Keeps what waits still, if the database lets it in this time."""
        if Here.queue is self.queue:
            Here.queue = None
        self._is_stopping.set()
        self.queue.news.set()
        self._thread.join(limit_s)

    def _run(self) -> None:
        wait_s = AGAIN_S[0]
        while True:
            self.queue.news.wait()
            self.queue.news.clear()
            try:
                self.turn()
            except PenstockError as error:
                self.queue.news.set()
                if self._is_stopping.is_set():
                    return
                if not self._is_away:
                    self._is_away = True
                    log.warning("log_store_away", reason=error.message)
                self._is_stopping.wait(wait_s)
                wait_s = min(2 * wait_s, AGAIN_S[1])
                continue
            except Exception:
                # The outer edge of the thread. What it fell over is gone; the next entries may be sound.
                self.queue.drop(min(MOST_ROWS, len(self.queue)))
                log.exception("logs_not_kept")
            wait_s = AGAIN_S[0]
            if self._is_away:
                self._is_away = False
                log.info("log_store_back")
            if self._is_stopping.is_set():
                if not len(self.queue):
                    return
                self.queue.news.set()
                continue
            # One entry seldom comes alone.
            self._is_stopping.wait(PAUSE_S)

    def turn(self) -> int:
        """Keeps the oldest entries that wait; how many. Raises StoreUnavailable, and then they wait still."""
        waiting = self.queue.take(MOST_ROWS)
        if not waiting:
            return 0
        rows = []
        for number, fields in enumerate(waiting):
            rows.append(row(fields, tick=self._tick + number))
        if (count := self.queue.take_shed()) > 0:
            self._shed(count)
            rows.append(row(_told(count), tick=self._tick + len(rows)))
        self._put(rows)
        self._tick += len(rows)
        self.queue.drop(len(waiting))
        if len(self.queue):
            self.queue.news.set()
        return len(waiting)

    def _put(self, rows: Sequence[Row]) -> None:
        """An entry that the database refuses costs its mates nothing."""
        try:
            self._store.put(rows)
        except DataRefused:
            if len(rows) == 1:
                return
            middle = len(rows) // 2
            self._put(rows[:middle])
            self._put(rows[middle:])


def _told(count: int) -> dict[str, object]:
    now = clock.iso(clock.epoch_s())
    return {"event": "log_entries_shed", "level": "warning", "timestamp": now, "count": count}
