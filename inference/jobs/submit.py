"""Submit: from checked input to a committed job."""

from collections.abc import Sequence

import orjson

from inference import tracing
from inference.access.model import Principal
from inference.errors import InvalidField, PenstockError, TooMany
from inference.ids import new_id
from inference.jobs.cache import key_of, who_answers
from inference.jobs.directory import slots
from inference.jobs.model import Accepted, JobSpec, NewJob, Submission
from inference.jobs.order import key_in
from inference.jobs.ports import JobPorts
from inference.jobs.trace import kept
from inference.serving.model import Service


def submit(
    ports: JobPorts,
    *,
    by: Principal,
    service_id: str,
    specs: Sequence[JobSpec],
    idempotency_key: str | None = None,
    body_hash: bytes = b"",
    stand_in: Service | None = None,
) -> Accepted:
    """Returns when the jobs, all of them, are committed; then they will run. Order of ids = order of `specs`.

    A key that is known is answered as it was the first time, also when a deadline has passed or a quota was filled
    since, or while the first is still being written. Raises what `prepare` raises, and InvalidField (the deadline of
    what comes with a key), ServiceNotFound, WrongState, IdempotencyMismatch, DataRefused, StoreUnavailable; in each
    case nothing was stored.
    """
    steps = tracing.steps(ports.traces)
    prepared = prepare(
        ports,
        by=by,
        service_id=service_id,
        specs=specs,
        idempotency_key=idempotency_key,
        body_hash=body_hash,
        stand_in=stand_in,
    )
    if steps is not None:
        steps.done("prepare", **{"penstock.tasks": len(specs)})
    accepted = ports.commit(prepared)
    if steps is not None:
        steps.done("commit")
    return accepted


def prepare(
    ports: JobPorts,
    *,
    by: Principal,
    service_id: str,
    specs: Sequence[JobSpec],
    idempotency_key: str | None = None,
    body_hash: bytes = b"",
    refusal: PenstockError | None = None,
    stand_in: Service | None = None,
) -> Submission:
    """What is to be committed, with its place in the queue; it counts against quotas from here on.

    `refusal`: what the caller has found wrong that was right once: the answer, unless the key is known. `stand_in`:
    the fallback that takes the jobs, which are made for its model.
    Raises ServiceNotFound, BacklogFull, QuotaExceeded, BudgetExhausted, StoreUnavailable.
    """
    service = stand_in or ports.directory.find(by.scope, service_id)[0]
    asked = None if stand_in is None else service_id
    now = ports.store.now_s()
    is_late = idempotency_key is not None and any(_is_past(spec.deadline, now) for spec in specs)
    if refusal is None:
        refusal = deadline_passed() if is_late else _over_quota(ports, by, service, specs)
    if refusal is not None and idempotency_key is None:
        raise refusal
    trace = None if ports.traces is None else tracing.current()
    who = None if refusal else who_answers(ports.directory, service)
    places = [now] * len(specs) if refusal else ports.fair.places(by, service, specs, now=now)
    return Submission(
        tenant_id=by.scope.tenant_id,
        jobs=tuple(
            _new_job(spec, service, by=by, now=now, place=place, asked=asked, trace=trace, who=who)
            for spec, place in zip(specs, places, strict=True)
        ),
        idempotency_key=idempotency_key,
        body_hash=body_hash,
        slots=slots(service),
        refusal=refusal,
        may_hit=who is not None and service.config.cache_ttl_s is not None,
    )


def deadline_passed() -> InvalidField:
    """The refusal of a job that could never be started in time."""
    return InvalidField("`deadline` has already passed.", field="deadline")


def _over_quota(ports: JobPorts, by: Principal, service: Service, specs: Sequence[JobSpec]) -> TooMany | None:
    try:
        if ports.spending is not None:
            ports.spending.check(service.tenant_id, service.id, min([spec.priority for spec in specs], default=9))
        ports.admission.admit(by, jobs=len(specs), payload_bytes=sum(len(spec.payload) for spec in specs))
    except TooMany as error:
        return error
    return None


def _is_past(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now


def _new_job(
    spec: JobSpec,
    service: Service,
    *,
    by: Principal,
    now: float,
    place: float,
    asked: str | None,
    trace: tracing.Context | None,
    who: str | None,
) -> NewJob:
    config = service.config
    metadata = None if spec.metadata is None else orjson.dumps(spec.metadata).decode()
    return NewJob(
        id=new_id(),
        tenant_id=by.scope.tenant_id,
        service_id=service.id,
        priority=spec.priority,
        order_key=key_in(config, submitted_at=now, priority=spec.priority, deadline=spec.deadline, place=place),
        submitted_at=now,
        deadline=spec.deadline,
        timeout_s=config.timeout_s if spec.timeout_s is None else spec.timeout_s,
        max_attempts=config.max_attempts,
        bucket=spec.bucket,
        rows=spec.rows,
        callback_url=spec.callback_url,
        callback_events=spec.callback_events,
        metadata_json=metadata if trace is None else kept(metadata, trace),
        payload=spec.payload,
        key_id=by.key_id,
        asked_service_id=asked,
        input_key=None if who is None else key_of(who, spec.payload),
    )
