"""Celery beat in a thread of the control process: on a single machine its own process would be 17 MB for nothing."""

from pathlib import Path
from typing import Any

from celery.beat import PersistentScheduler, Service

from workers.duty import DutyThread

SCHEDULE_FILE = "beat-schedule"


class Scheduler(PersistentScheduler):  # type: ignore[misc]  # Celery has no types
    """Celery's own, which keeps in a file what ran when."""

    def install_default_entries(self, data: Any) -> None:
        """None: we keep no results in Celery's backend, and need not load it to hear whether they expire."""


class BeatThread(DutyThread):
    """Sends what is due of the app's `beat_schedule`. It waits where the broker is away, and stops nobody else."""

    def __init__(self, app: Any, folder: Path) -> None:
        super().__init__("beat")
        self._service = Service(app, schedule_filename=str(folder / SCHEDULE_FILE), scheduler_cls=Scheduler)
        self._pause_s = 0.0

    def turn(self) -> float:
        self._pause_s = 1.0  # should the turn fail
        self.do("beat", self._tick)
        return self._pause_s

    def _tick(self) -> None:
        scheduler = self._service.scheduler
        self._pause_s = max(0.0, scheduler.tick())
        if scheduler.should_sync():
            scheduler._do_sync()

    def _run(self) -> None:
        super()._run()
        self.do("beat", self._service.sync)  # here: what opened the file must close it
