"""What an engine reports of the call under way, told to whoever asks for its tasks. Costs nothing while none does."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeAlias

import structlog

from inference.jobs.express_model import ExpressJob
from inference.jobs.model import ClaimedJob
from inference.jobs.progress import Progress, ProgressBoard

log = structlog.get_logger(__name__)

EVERY_S = 0.5
MESSAGE_CHARS = 200
GRACE_S = 60.0
LONGEST_S = 86_400.0
"""For how long a report is kept: the call's limit and a little, since an engine may report once and then work on."""


_Call: TypeAlias = tuple[Sequence[ClaimedJob], float]
"""Its jobs, and its limit in seconds. A tuple: one is made for each call, and seldom read."""


class Reports:
    """`engines.base.Report` of one child, and the thread that passes on the newest, at most twice a second.

    Begun with the first report. A report never waits for Redis, and what Redis does not take is lost: the next one
    comes. What is reported while no call is under way, as in a trial run, is nobody's.
    """

    def __init__(self, board: ProgressBoard, *, now_s: Callable[[], float], every_s: float = EVERY_S) -> None:
        self._board, self._now_s, self._every_s = board, now_s, every_s
        self._call: _Call | None = None
        self._newest: dict[int | None, tuple[float, str, float]] = {}
        self._told: dict[str, None] = {}
        self._over: list[str] = []
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, jobs: Sequence[ClaimedJob], *, limit_s: float) -> None:
        """A call begins. It is given no more time for what it reports."""
        self._call = (jobs, limit_s)

    def end(self) -> None:
        """It is over; what was told of it goes: a job that is given back begins anew."""
        self._call = None
        if self._newest or self._told:
            with self._lock:
                self._newest.clear()
                self._over += self._told
                self._told.clear()
            self._news.set()

    def __call__(self, fraction: float, message: str = "", *, row: int | None = None) -> None:
        call = self._call
        if call is None or not math.isfinite(fraction):
            return
        report = min(max(float(fraction), 0.0), 1.0), str(message)[:MESSAGE_CHARS], self._now_s()
        with self._lock:
            if call is not self._call:
                return
            if row is None:
                self._newest.clear()
            self._newest[row] = report
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()
        self._news.set()

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            try:
                self._pass_on()
            except Exception:
                # The outer edge of the thread: an engine's odd words must not end it.
                log.exception("progress_lost")
            time.sleep(self._every_s)

    def _pass_on(self) -> None:
        with self._lock:
            call, newest, over = self._call, dict(self._newest), list(self._over)
            self._newest.clear()
            self._over.clear()
            reports = {} if call is None else _reports(call[0], newest)
            self._told |= dict.fromkeys(reports)
        if over:
            self._board.remove(over)
        if call is not None and reports:
            self._board.put(reports, ttl_s=min(call[1], LONGEST_S) + GRACE_S)


def _reports(jobs: Sequence[ClaimedJob], newest: dict[int | None, tuple[float, str, float]]) -> dict[str, Progress]:
    """By job: what was said of all, and then of rows; of several rows of one job, the last word."""
    spans = list(zip(jobs, accumulate(job.rows for job in jobs), strict=True))
    found: dict[str, Progress] = {}
    for row, (fraction, message, at) in newest.items():
        for job in jobs if row is None else [job for job, end in spans if end - job.rows <= row < end]:
            if not isinstance(job, ExpressJob):
                found[job.id] = Progress(
                    generation=job.generation, attempt=job.attempt, fraction=fraction, message=message, updated_at=at
                )
    return found
