"""The express lane: predictions that somebody waits for. No row: the answer is the acknowledgement.

What is asked travels through Redis to whoever drains the service, shares batches with its jobs, and is answered on the
channel of the process that asked. It runs at most once: what is lost with a worker is not run again, but refused.
"""

from collections.abc import Sequence

from inference import tracing
from inference.access.model import Principal
from inference.errors import WrongState
from inference.ids import new_id
from inference.jobs.cache import key_of, who_answers
from inference.jobs.cache_model import Kept
from inference.jobs.directory import slots
from inference.jobs.express_model import Asked
from inference.jobs.model import ClaimedJob, JobSpec
from inference.jobs.order import key_in
from inference.jobs.ports import JobPorts
from inference.jobs.trace import kept
from inference.serving.model import TAKES_TASKS, Service, ServiceState
from inference.telemetry import metrics


def prepare(ports: JobPorts, *, by: Principal, service: Service, spec: JobSpec, most_s: float) -> Asked:
    """A prediction with its place in the queue, or with an answer that is there. `most_s`: seconds anybody may wait.

    Counts against the quota of engine time, and none of what is stored or waits in the database. Raises WrongState
    unless the service runs, QuotaExceeded, BudgetExhausted, StoreUnavailable.
    """
    if service.state is not ServiceState.RUNNING:
        raise not_running(service)
    key, answer = _look_up(ports, by, service, spec)
    if ports.spending is not None:
        ports.spending.check(service.tenant_id, service.id, spec.priority)
    ports.admission.admit(by, jobs=0, payload_bytes=0)
    if service.is_resting and answer is None:
        ports.bell.ring(service.id, slots=slots(service))
    now, config = ports.store.now_s(), service.config
    (place,) = (now,) if answer is not None else ports.fair.places(by, service, (spec,), now=now)
    limit_s = config.timeout_s if spec.timeout_s is None else spec.timeout_s
    ends = now + min(limit_s, most_s)
    return Asked(
        id=new_id(),
        service_id=service.id,
        slots=slots(service),
        order_key=key_in(config, submitted_at=now, priority=spec.priority, deadline=spec.deadline, place=place),
        tenant_id=by.scope.tenant_id,
        key_id=by.key_id,
        priority=spec.priority,
        submitted_at=now,
        deadline=ends if spec.deadline is None else min(ends, spec.deadline),
        # What somebody waits for is no limit of the engine's: a call that overruns that may cost the process.
        timeout_s=config.timeout_s,
        bucket=spec.bucket,
        rows=spec.rows,
        payload=spec.payload,
        metadata_json=None if ports.traces is None else kept(None, tracing.current()),
        input_key=key,
        kept=answer,
    )


def _look_up(ports: JobPorts, by: Principal, service: Service, spec: JobSpec) -> tuple[str | None, Kept | None]:
    """The key of the input, where the service keeps answers, and the answer that it kept. First, since it may wait."""
    ttl_s = service.config.cache_ttl_s
    if ttl_s is None or ports.cache is None or (who := who_answers(ports.directory, service)) is None:
        return None, None
    key = key_of(who, spec.payload)
    answer = ports.cache.find(service, key, key_id=by.key_id, rows=spec.rows, now_s=ports.store.now_s())
    metrics.cache_lookups.labels(service.id, "miss" if answer is None else "hit").inc()
    return key, answer


def not_running(service: Service) -> WrongState:
    """The refusal of a prediction that would wait for nobody, with what its client can do instead."""
    takes_tasks = service.state in TAKES_TASKS or service.config.queue_while_stopped
    advice = _ADVICE.get(service.state, "start it with POST /services/{id}/start").format(id=service.id)
    or_a_task = ", or send a task, which waits" if takes_tasks else ""
    why = f" ({service.reason})" if service.state in _TELLING and service.reason else ""
    return WrongState(
        f"Service {service.id} is {service.state} and predicts nothing{why}; {advice}{or_a_task}.",
        state=service.state,
        allowed=[ServiceState.RUNNING],
    )


_TELLING = frozenset({ServiceState.PREEMPTED, ServiceState.ERROR})
"""States with a reason that helps: who took its place, or why it could not be loaded."""
_ADVICE = {
    ServiceState.DEPLOYING: "try again when it is running",
    ServiceState.PREEMPTED: "try again when it has its device back",
    ServiceState.ERROR: "correct what its reason names, then start it with POST /services/{id}/start",
}


def express_room(max_rows: int, *, share: float, jobs_rows: int) -> int:
    """Rows that the express lane may take of the next batch, when jobs are likely to bring `jobs_rows`."""
    return max(_part(max_rows, share), max_rows - jobs_rows)


def jobs_room(max_rows: int, *, share: float, express_rows: int) -> int:
    """Rows that jobs may take beside what the express lane took. Never less than their share, so neither starves."""
    return max(1, max_rows - _part(max_rows, share), max_rows - express_rows)


def _part(max_rows: int, share: float) -> int:
    return max(1, round(max_rows * share))


def turns(
    jobs: Sequence[ClaimedJob], express: Sequence[ClaimedJob], *, max_rows: int
) -> tuple[tuple[ClaimedJob, ...], ...]:
    """One batch of both where they may share an engine call; else two, one after the other, express first.

    Whoever was tried before may have crashed, and stays apart: nobody else is to be harmed, and it must be clear whose
    fault the next crash is.
    """
    if not jobs or not express:
        return (tuple(jobs or express),)
    rows = sum(job.rows for job in jobs) + sum(job.rows for job in express)
    is_alike = {job.bucket for job in jobs} == {job.bucket for job in express}
    if is_alike and rows <= max_rows and not any(job.attempt > 1 for job in jobs):
        return ((*express, *jobs),)
    return tuple(express), tuple(jobs)
