"""The core as an entry point holds it: one bundle of ports per room."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inference.access.door import Door
from inference.access.ports import AccessPorts
from inference.alerts.model import Phase
from inference.alerts.ports import AlertPorts
from inference.backup.ports import BackupPorts
from inference.costs import budgets
from inference.costs.model import HOUR_S
from inference.costs.ports import CostPorts
from inference.errors import HotUnavailable, StoreUnavailable
from inference.jobs.block import BulkStore
from inference.jobs.ports import JobPorts
from inference.jobs.progress import ProgressBoard
from inference.logs.ports import LogsPorts
from inference.notify.ports import NotifyPorts
from inference.registry.ports import RegistryPorts
from inference.reports.ports import ReportPorts
from inference.resources.ports import ResourcesPorts
from inference.results.ports import ResultsPorts
from inference.scaling.ports import ScalingPorts
from inference.serving.model import ServiceState
from inference.serving.ports import ServingPorts
from inference.settings import Settings
from inference.telemetry import status
from inference.telemetry.ports import TelemetryPorts

UP_STATES = {ServiceState.RUNNING: 1.0, ServiceState.ERROR: 0.0}
"""Of the others nobody expects that they run; who gave way to a more important service does what its priority says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """`close` ends threads and connections; call it once, at the end. `ping_store`/`ping_redis` raise when ill."""

    settings: Settings
    jobs: JobPorts
    bulk: BulkStore
    progress: ProgressBoard
    results: ResultsPorts
    serving: ServingPorts
    registry: RegistryPorts
    resources: ResourcesPorts
    access: AccessPorts
    door: Door
    notify: NotifyPorts
    telemetry: TelemetryPorts
    costs: CostPorts
    scaling: ScalingPorts
    alerts: AlertPorts
    reports: ReportPorts
    logs: LogsPorts
    backup: BackupPorts
    ping_store: Callable[[], None]
    ping_redis: Callable[[], None]
    close: Callable[[], None]


def figures(core: Core) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """What `telemetry.metrics.render` reads from the store at a scrape; nothing more once the store is away."""
    try:
        yield from _figures(core)
    except StoreUnavailable:
        return


def _figures(core: Core) -> Iterator[tuple[str, tuple[str, ...], float]]:
    yield from status.gauges(core.telemetry.figures)
    counts = core.jobs.store.counts()
    for (service_id, state), count in counts.items():
        yield "penstock_jobs", (service_id, state.value), count
    backlog = core.jobs.store.backlog()
    for service_id in {service_id for service_id, _ in counts} - {queue.service_id for queue in backlog}:
        yield "penstock_queue_depth", (service_id, "0"), 0.0  # an empty queue is a figure too, not a gap
        yield "penstock_queue_oldest_seconds", (service_id, "0"), 0.0
    for queue in backlog:
        labels = (queue.service_id, str(queue.priority))
        yield "penstock_queue_depth", labels, queue.waiting
        yield "penstock_queue_oldest_seconds", labels, queue.oldest_age_s
    replicas = Counter((replica.service_id, replica.observed.value) for replica in core.serving.replicas.all())
    for key, count in replicas.items():
        yield "penstock_replicas", key, count
    for kind, size_bytes in core.registry.models.bytes_named().items():
        yield "penstock_blob_bytes", (kind,), size_bytes
    yield from _alerts_and_costs(core)
    if core.jobs.express is not None:
        with contextlib.suppress(HotUnavailable):
            # Only of what has replicas: no other service takes any, and there may be many.
            waiting = core.jobs.express.waiting_in(sorted({service_id for service_id, _ in replicas}))
            for service_id, predictions in waiting.items():
                yield "penstock_express_waiting", (service_id,), predictions


def _alerts_and_costs(core: Core) -> Iterator[tuple[str, tuple[str, ...], float]]:
    for subject in core.alerts.sources.subjects():
        if (is_up := UP_STATES.get(ServiceState(subject.state))) is not None:
            yield "penstock_service_up", (subject.id,), is_up
    firing = Counter(
        (alert.service_id, alert.name, alert.severity.value)
        for alert in core.alerts.alerts.active()
        if alert.phase is Phase.FIRING
    )
    for labels, count in firing.items():
        yield "penstock_alerts", labels, count
    for (_, service_id), per_s in budgets.rates(core.costs).by_service.items():
        yield "penstock_cost_per_hour", (service_id,), per_s * HOUR_S
    for owner, share in budgets.used(core.costs).items():
        yield "penstock_budget_used", owner, share
