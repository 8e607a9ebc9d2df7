"""Cancel: at once for a waiting job, as a request for a running one; one, or all that a selection describes."""

from dataclasses import dataclass

from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.jobs.announce import announce
from inference.jobs.model import JobState, Selection
from inference.jobs.ports import JobPorts

BUDGET_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledMany:
    """`cancelled`: jobs that waited, and never run now. `requested`: running ones, whose workers are being told.

    `is_complete`: False when time was over first; the same call goes on.
    """

    cancelled: int
    requested: int
    is_complete: bool


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


def cancel_many(ports: JobPorts, *, scope: Scope, which: Selection, budget_s: float = BUDGET_S) -> CancelledMany:
    """Cancels what was submitted until now, in short transactions, and tells those who wait for it.

    What was cancelled before an error stays cancelled, and stands in the audit record. Raises ServiceNotFound.
    """
    ports.directory.find(scope, which.service_id)
    end = monotonic_s() + budget_s
    counts = {JobState.CANCELLED: 0, JobState.RUNNING: 0}
    is_complete = True
    try:
        for changed in ports.store.cancel_many(scope, which):
            for state in changed.values():
                counts[state] += 1
            announce(ports, [job_id for job_id, state in changed.items() if state is JobState.CANCELLED])
            if monotonic_s() > end:
                is_complete = False
                break
    finally:
        if any(counts.values()):
            ports.store.note_cancelled(
                scope, which, cancelled=counts[JobState.CANCELLED], requested=counts[JobState.RUNNING]
            )
    return CancelledMany(
        cancelled=counts[JobState.CANCELLED], requested=counts[JobState.RUNNING], is_complete=is_complete
    )
