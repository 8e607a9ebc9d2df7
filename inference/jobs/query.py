"""What a job's owner may ask."""

import contextlib
from collections.abc import Mapping, Sequence

from inference.access.model import Scope
from inference.errors import JobNotFound, ServiceNotFound
from inference.jobs.block import Page
from inference.jobs.model import JobFilter, JobState, JobView, Standing
from inference.jobs.pace import eta_s
from inference.jobs.ports import JobPorts

MOST_AHEAD = 10_000


def get(ports: JobPorts, *, scope: Scope, job_id: str) -> JobView:
    """The job as it stands; a finished one from its hot copy when there is one. Raises JobNotFound."""
    view = ports.hot.get(scope.tenant_id, job_id)
    if view is None:
        return ports.store.get(scope, job_id)
    # A hot copy knows its tenant and its service only.
    if not scope.is_whole_tenant and not _sees(ports, scope, view):
        raise JobNotFound(f"There is no task {job_id}.", task_id=job_id)
    return view


def get_many(ports: JobPorts, *, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, JobView]:
    """`get` of several at the price of one; by id, those that are there for the caller."""
    found = dict(ports.hot.get_many(scope.tenant_id, job_ids))
    if not scope.is_whole_tenant:
        found = {job_id: view for job_id, view in found.items() if _sees(ports, scope, view)}
    rest = [job_id for job_id in job_ids if job_id not in found]
    if rest:
        found.update(ports.store.get_many(scope, rest))
    return found


def _sees(ports: JobPorts, scope: Scope, view: JobView) -> bool:
    """Whoever sees the service that took the job, or the one that it was sent to. The directory remembers them."""
    for service_id in filter(None, (view.service_id, view.asked_service_id)):
        with contextlib.suppress(ServiceNotFound):
            ports.directory.find(scope, service_id)
            return True
    return False


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
        service, _ = ports.directory.find(Scope(scope.tenant_id), view.service_id)
    except ServiceNotFound:
        return Standing(position=position)
    pace = ports.pace.find(service)
    return Standing(position=position, eta_s=None if pace is None else eta_s(pace, position))


def find(ports: JobPorts, *, scope: Scope, which: JobFilter) -> Page:
    """Newest first, without results. A page may be short, or empty, and not the last: `after` goes on."""
    return ports.store.list(scope, which)
