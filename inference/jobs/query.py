"""What a job's owner may ask."""

from collections.abc import Sequence

from inference.access.model import Scope
from inference.errors import JobNotFound, ServiceNotFound
from inference.jobs.model import JobFilter, JobView
from inference.jobs.ports import JobPorts


def get(ports: JobPorts, *, scope: Scope, job_id: str) -> JobView:
    """The job as it stands; a finished one from its hot copy when there is one. Raises JobNotFound."""
    view = ports.hot.get(scope.tenant_id, job_id)
    if view is None:
        return ports.store.get(scope, job_id)
    if not scope.is_whole_tenant:  # a hot copy knows its tenant and its service only
        try:
            ports.directory.find(scope, view.service_id)
        except ServiceNotFound as error:
            raise JobNotFound(f"There is no task {job_id}.", task_id=job_id) from error
    return view


def find(ports: JobPorts, *, scope: Scope, which: JobFilter) -> Sequence[JobView]:
    """Newest first, without results; the last id is the cursor of the next page."""
    return ports.store.list(scope, which)
