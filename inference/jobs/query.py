"""What a job's owner may ask."""

from collections.abc import Sequence

from inference.access.model import Scope
from inference.errors import JobNotFound, ServiceNotFound
from inference.jobs.model import JobFilter, JobState, JobView, Standing
from inference.jobs.pace import eta_s
from inference.jobs.ports import JobPorts

MOST_AHEAD = 10_000


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


def standing(ports: JobPorts, *, scope: Scope, view: JobView) -> Standing:
    """Where a waiting job stands; nothing for one that does not wait, or waits for its next try.

    Costs a count of at most 10,000 entries of an index; nothing for jobs in other states.
    """
    if view.state is not JobState.PENDING:
        return Standing()
    position = ports.store.ahead(scope, view.id, limit=MOST_AHEAD + 1)
    if position is None or position > MOST_AHEAD or ports.pace is None:
        return Standing(position=position if position is not None and position <= MOST_AHEAD else None)
    try:
        service, _ = ports.directory.find(scope, view.service_id)
    except ServiceNotFound:
        return Standing(position=position)
    pace = ports.pace.find(service)
    return Standing(position=position, eta_s=None if pace is None else eta_s(pace, position))


def find(ports: JobPorts, *, scope: Scope, which: JobFilter) -> Sequence[JobView]:
    """Newest first, without results; the last id is the cursor of the next page."""
    return ports.store.list(scope, which)
