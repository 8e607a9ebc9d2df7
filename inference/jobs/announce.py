"""Tells whoever waits that jobs have ended otherwise than at a worker's hands."""

from collections import defaultdict
from collections.abc import Sequence

from inference.jobs.model import FINAL, JobState, JobView
from inference.jobs.ports import JobPorts
from inference.telemetry import metrics


def announce(ports: JobPorts, job_ids: Sequence[str], *, is_counted: bool = True) -> None:
    """Makes hot copies of those of `job_ids` that are final, publishes the news, and counts them. Redis may be away.

    `is_counted`: False for jobs whose end somebody else may have counted.
    """
    if not job_ids:
        return
    by_owner: dict[tuple[str, str], list[JobView]] = defaultdict(list)
    for tenant_id, view in ports.store.views(job_ids):
        if view.state in FINAL:
            by_owner[tenant_id, view.service_id].append(view)
            if is_counted:
                metrics.finished.labels(view.service_id, view.state.value).inc()
                if view.state is JobState.COMPLETED and view.completed_at is not None:
                    metrics.job_latency.labels(view.service_id).observe(view.completed_at - view.created_at)
    for (tenant_id, service_id), views in by_owner.items():
        ports.hot.put(tenant_id, service_id, views)
