"""Tells whoever waits that jobs have ended otherwise than at a worker's hands."""

from collections import defaultdict
from collections.abc import Sequence

from inference.jobs.model import FINAL, JobView
from inference.jobs.ports import JobPorts


def announce(ports: JobPorts, job_ids: Sequence[str]) -> None:
    """Makes hot copies of those of `job_ids` that are final, and publishes the news. Never raises for Redis."""
    if not job_ids:
        return
    by_owner: dict[tuple[str, str], list[JobView]] = defaultdict(list)
    for tenant_id, view in ports.store.views(job_ids):
        if view.state in FINAL:
            by_owner[tenant_id, view.service_id].append(view)
    for (tenant_id, service_id), views in by_owner.items():
        ports.hot.put(tenant_id, service_id, views)
