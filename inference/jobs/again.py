"""Again: a finished job runs once more, and a waiting one is given another place in the queue."""

from collections.abc import Collection

from inference.access.model import Principal, Scope
from inference.errors import WrongState
from inference.jobs.directory import slots
from inference.jobs.model import FINAL, JobSpec, JobState, Renewed
from inference.jobs.order import key_in, moved_key
from inference.jobs.ports import JobPorts, Place
from inference.serving.model import ServiceConfig

RETRIED = FINAL - {JobState.COMPLETED}


def retry(ports: JobPorts, *, by: Principal, job_id: str) -> Renewed:
    """A job that did not complete waits again, with all of its attempts before it, as if submitted now.

    Raises JobNotFound, WrongState, BacklogFull, QuotaExceeded, HotUnavailable, StoreUnavailable.
    """
    return _again(ports, by=by, job_id=job_id, action="retry", allowed=RETRIED)


def requeue(ports: JobPorts, *, by: Principal, job_id: str) -> Renewed:
    """As `retry`, also of a job that completed: its result goes."""
    return _again(ports, by=by, job_id=job_id, action="requeue", allowed=FINAL)


def prioritise(ports: JobPorts, *, scope: Scope, job_id: str, priority: int) -> None:
    """Puts a waiting job where it would stand had it come with this priority. Raises JobNotFound, WrongState."""
    view = ports.store.get(scope, job_id)
    service, _ = ports.directory.find(Scope(scope.tenant_id), view.service_id)
    config = service.config

    def move(key: float, before: int, deadline: float | None, submitted_at: float) -> float:
        return moved_key(
            key,
            submitted_at=submitted_at,
            levels=priority - before,
            head_start_s=config.head_start_s,
            deadline=deadline,
            estimate_s=config.objective_ms / 1000,
        )

    ports.store.prioritise(scope, job_id, priority=priority, move=move)


def wrong_state(job_id: str, state: JobState, allowed: Collection[JobState], *, action: str) -> WrongState:
    """The refusal of a job in another state; it names those in which it would be done."""
    names = sorted(one.value for one in allowed)
    return WrongState(
        f"Task {job_id} is {state.value}; to {action} it, it must be {' or '.join(names)}.",
        state=state.value,
        allowed=names,
    )


def _again(ports: JobPorts, *, by: Principal, job_id: str, action: str, allowed: Collection[JobState]) -> Renewed:
    view = ports.store.get(by.scope, job_id)
    if view.state not in allowed:
        raise wrong_state(job_id, view.state, allowed, action=action)
    service, _ = ports.directory.find(Scope(by.scope.tenant_id), view.service_id)
    ports.admission.admit(by, jobs=1, payload_bytes=0)
    as_new = JobSpec(payload=b"", rows=1, bucket="", priority=view.priority)
    (place,) = ports.fair.places(by, service, [as_new], now=ports.store.now_s())
    # Before the change: whoever reads between the two finds the old state in the database, which is still true.
    ports.hot.forget(job_id, age_s=ports.store.now_s() - (view.completed_at or 0.0))
    renewed = ports.store.again(by.scope, job_id, action=action, allowed=allowed, place=_placing(service.config, place))
    ports.bell.ring(service.id, slots=slots(service))
    return renewed


def _placing(config: ServiceConfig, place: float) -> Place:
    def key(submitted_at: float, priority: int, deadline: float | None) -> float:
        return key_in(
            config, submitted_at=submitted_at, priority=priority, deadline=deadline, place=max(place, submitted_at)
        )

    return key
