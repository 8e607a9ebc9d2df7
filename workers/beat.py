"""The beat process: sends the slow duties to the queue `control`. What must be quick, the ticker does.

On a single machine a thread of the control process does the same (`beating`).
"""

import os
from collections.abc import Mapping
from typing import Any

from inference import entry, lifeline
from inference import settings as settings_room
from inference.settings import Settings
from inference.telemetry.log import configure
from workers.alarm import end_quietly
from workers.app import make_app
from workers.queues import AUTOSCALE_TASK, BACKUP_TASK, CONTROL_QUEUE, RECLAIM_TASK, REPORTS_TASK, RETENTION_TASK
from workers.tasks.control import AUTOSCALE_S, BACKUP_S, RECLAIM_S, REPORTS_S, RETENTION_S


def _sent(task: str, every_s: float) -> dict[str, Any]:
    return {"task": task, "schedule": every_s, "options": {"queue": CONTROL_QUEUE, "expires": every_s}}


SCHEDULE = {
    "retention": _sent(RETENTION_TASK, RETENTION_S),
    "autoscale": _sent(AUTOSCALE_TASK, AUTOSCALE_S),
    "idle_reclaim": _sent(RECLAIM_TASK, RECLAIM_S),
    "reports": _sent(REPORTS_TASK, REPORTS_S),
    "backup": _sent(BACKUP_TASK, BACKUP_S),
}
"""A backup is asked for more often than it is due: who starts the system each morning has one each day, too."""


def schedule(settings: Settings) -> dict[str, Any]:
    """For `beat_schedule`, whichever process beats."""
    often_s = min(BACKUP_S, settings.backup.every_s) or BACKUP_S
    return SCHEDULE | {"backup": _sent(BACKUP_TASK, often_s)}


def main(environ: Mapping[str, str]) -> int:
    """Runs until SIGTERM or SIGINT. A second beat is harmless: each duty is taken once per period."""
    end_quietly()
    settings = settings_room.load(environ)
    if settings.process.run_id:
        lifeline.die_with_parent()
    configure(settings, "beat")
    app = make_app(settings)
    app.conf.beat_schedule = schedule(settings)
    # Beat looks whether results expire by themselves. It has none, and need not load a backend for the answer.
    app.conf.result_backend = None
    folder = settings.data_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    app.Beat(schedule=str(folder / "beat-schedule"), loglevel="WARNING", quiet=True).run()
    return 0


if __name__ == "__main__":
    entry.run(lambda: main(os.environ))
