"""The beat process: sends the slow duties to the queue `control`. What must be quick, the ticker does."""

import os
from collections.abc import Mapping

from inference import entry, lifeline
from inference import settings as settings_room
from inference.telemetry.log import configure
from workers.alarm import end_quietly
from workers.app import make_app
from workers.queues import AUTOSCALE_TASK, CONTROL_QUEUE, RECLAIM_TASK, REPORTS_TASK, RETENTION_TASK
from workers.tasks.control import AUTOSCALE_S, RECLAIM_S, REPORTS_S, RETENTION_S

SCHEDULE = {
    name: {"task": task, "schedule": every_s, "options": {"queue": CONTROL_QUEUE, "expires": every_s}}
    for name, task, every_s in (
        ("retention", RETENTION_TASK, RETENTION_S),
        ("autoscale", AUTOSCALE_TASK, AUTOSCALE_S),
        ("idle_reclaim", RECLAIM_TASK, RECLAIM_S),
        ("reports", REPORTS_TASK, REPORTS_S),
    )
}


def main(environ: Mapping[str, str]) -> int:
    """Runs until SIGTERM or SIGINT. A second beat is harmless: each duty is taken once per period."""
    end_quietly()
    settings = settings_room.load(environ)
    if settings.process.run_id:
        lifeline.die_with_parent()
    configure(settings, "beat")
    app = make_app(settings)
    app.conf.beat_schedule = SCHEDULE
    # Beat looks whether results expire by themselves. It has none, and need not load a backend for the answer.
    app.conf.result_backend = None
    folder = settings.data_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    app.Beat(schedule=str(folder / "beat-schedule"), loglevel="WARNING", quiet=True).run()
    return 0


if __name__ == "__main__":
    entry.run(lambda: main(os.environ))
