"""Tasks of the control queue: a kick for reconciler and autoscaler, idle reclaim, reports, backup, and retention."""

from typing import TYPE_CHECKING

import structlog

from inference.core import Core
from inference.jobs import cache_upkeep
from inference.jobs.retain import retain
from inference.logs.retain import retain as retain_logs
from inference.registry.collect import collect
from inference.scaling import reclaim
from workers.queues import AUTOSCALE_TASK, BACKUP_TASK, RECLAIM_TASK, RECONCILE_TASK, REPORTS_TASK, RETENTION_TASK
from workers.reporting import Reporting
from workers.ticker import Ticker

if TYPE_CHECKING:
    from celery import Celery

log = structlog.get_logger(__name__)

RETENTION_S = 600.0
AUTOSCALE_S = 60.0
RECLAIM_S = 10.0
REPORTS_S = 60.0
BACKUP_S = 3_600.0
REPORTS_CHUNK = 100


def register(app: "Celery", core: Core, ticker: Ticker, reporting: Reporting) -> None:
    """Ties the tasks to this process's core. Each may be delivered twice, or never.

    The autoscaler's turn is the ticker's, every second and without a broker; the beat job only sees to it that one
    comes even in a process whose ticker sleeps.
    """

    @app.task(name=RECONCILE_TASK, ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
    def reconcile() -> None:
        ticker.kick()

    @app.task(name=AUTOSCALE_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def autoscale() -> None:
        ticker.kick()

    @app.task(name=RECLAIM_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def idle_reclaim() -> None:
        if run_reclaim(core):
            ticker.kick()

    @app.task(name=REPORTS_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def reports() -> None:
        reporting.kick()

    @app.task(name=BACKUP_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def backup() -> None:
        run_backup(core)

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
    core.scaling.store.forget(keep_s=core.settings.scaling.keep_s)
    retain_logs(core.logs)
    cache_upkeep.forget(core.jobs)
    run_collection(core)
    while core.reports.store.forget(keep_s=core.settings.reports.keep_s, limit=REPORTS_CHUNK) == REPORTS_CHUNK:
        pass
    return removed


def run_collection(core: Core) -> None:
    """Takes away what jobs, uploads and models have left in the blob store."""
    from inference.telemetry import metrics  # once it was said where metrics are kept

    collected = collect(core.registry, grace_s=core.settings.blobs.grace_s)
    metrics.blobs_collected.inc(collected.blobs)
    metrics.blob_bytes_collected.inc(collected.bytes)


def run_reclaim(core: Core) -> int:
    """Once per period, however many beats ask for it; how many services were sent to rest."""
    if not core.scaling.turns.take("idle_reclaim", every_s=RECLAIM_S * 0.8, by=core.settings.process.run_id):
        return 0
    services = core.serving.services.watched()
    if not any(reclaim.may_rest(service) for service in services):
        return 0
    return reclaim.run(core.scaling, services, core.serving.replicas.all())


def run_backup(core: Core) -> bool:
    """Once per period of the settings, however many beats ask for it; whether the configuration had changed."""
    from inference.backup.make import make_if_changed  # what is used once a day need not be there all day

    every_s = core.settings.backup.every_s
    if not every_s:
        return False
    early_s = 0.2 * min(every_s, BACKUP_S)
    if not core.serving.ticks.take("backup", every_s=every_s - early_s, by=core.settings.process.run_id):
        return False
    return make_if_changed(core.backup) is not None
