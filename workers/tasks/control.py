"""Tasks of the control queue: a kick for the reconciler, and retention."""

from typing import TYPE_CHECKING

import structlog

from inference.core import Core
from inference.jobs.retain import retain
from workers.queues import RECONCILE_TASK, RETENTION_TASK
from workers.ticker import Ticker

if TYPE_CHECKING:
    from celery import Celery

log = structlog.get_logger(__name__)

RETENTION_S = 600.0


def register(app: "Celery", core: Core, ticker: Ticker) -> None:
    """Ties the tasks to this process's core. Both may be delivered twice, or never."""

    @app.task(name=RECONCILE_TASK, ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
    def reconcile() -> None:
        ticker.kick()

    @app.task(name=RETENTION_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def retention() -> None:
        run_retention(core)


def run_retention(core: Core) -> int:
    """Once per period, however many beats ask for it; how many jobs went."""
    if not core.serving.ticks.take("retention", every_s=RETENTION_S * 0.8, by=core.settings.process.run_id):
        return 0
    removed = retain(core.jobs, keep_s=core.settings.results.keep_s)
    if removed:
        log.info("jobs_removed", count=removed)
    return removed
