"""What a job's owner may ask."""

from collections.abc import Sequence

from inference.jobs.model import JobFilter, JobView
from inference.jobs.ports import JobPorts


def get(ports: JobPorts, *, tenant_id: str, job_id: str) -> JobView:
    """The job as it stands; a finished one from its hot copy when there is one. Raises JobNotFound."""
    return ports.hot.get(tenant_id, job_id) or ports.store.get(tenant_id, job_id)


def find(ports: JobPorts, *, tenant_id: str, which: JobFilter) -> Sequence[JobView]:
    """Newest first, without results; the last id is the cursor of the next page."""
    return ports.store.list(tenant_id, which)
