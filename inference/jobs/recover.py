"""The sweep: whatever time or a crash left behind goes on, or ends, from here."""

from inference.access.model import Scope
from inference.errors import ServiceNotFound
from inference.jobs.announce import announce
from inference.jobs.directory import slots
from inference.jobs.model import FINAL
from inference.jobs.ports import JobPorts


def sweep(ports: JobPorts, *, rings: bool = True, reaps: bool = True) -> int:
    """Promotes delayed jobs, ends late ones, returns or buries those of dead instances; how many it moved.

    `rings`: rings again for every service that has work waiting, in case a bell was lost, and gives what waits at
    services without room to their fallbacks. Any number of processes may sweep at once. Without `reaps`, a lease that
    is over costs nobody anything yet.
    """
    promoted = ports.store.promote()
    expired = ports.store.expire()
    reaped = ports.store.reap() if reaps else []
    moved = ports.fallbacks.hand_over(ports.bell) if rings and ports.fallbacks is not None else 0
    announce(ports, [*expired, *(job_id for job_id, state in reaped if state in FINAL)])
    if rings or promoted or reaped:
        ring_all(ports)
    return len(promoted) + len(expired) + len(reaped) + moved


def ring_all(ports: JobPorts) -> None:
    """Rings once for every service that has something to claim."""
    for tenant_id, service_id in ports.store.services_with_waiting():
        try:
            service, _ = ports.directory.find(Scope(tenant_id), service_id)
        except ServiceNotFound:
            continue
        ports.bell.ring(service_id, slots=slots(service))
