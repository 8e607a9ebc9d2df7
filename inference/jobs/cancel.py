"""Cancel: at once for a waiting job, as a request for a running one."""

from inference.access.model import Scope
from inference.jobs.announce import announce
from inference.jobs.model import JobState
from inference.jobs.ports import JobPorts


def cancel(ports: JobPorts, *, scope: Scope, job_id: str) -> JobState:
    """CANCELLED when that is true, RUNNING when it was asked for and the engine still has the job.

    A running job whose cancellation was asked for ends cancelled instead of completed. Raises JobNotFound, and
    WrongState for a job that ended otherwise; cancelling twice is no error.
    """
    before = ports.store.get(scope, job_id).state
    state = ports.store.cancel(scope, job_id)
    if state is JobState.CANCELLED and before is not state:
        announce(ports, [job_id])
    return state
