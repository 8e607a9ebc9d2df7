"""Submit by the handful: what a stream of tasks brings is committed block by block."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from inference import tracing
from inference.access.model import Principal
from inference.ids import new_ids
from inference.jobs.block import Block, BulkStore, Load
from inference.jobs.cache import key_of, who_answers
from inference.jobs.directory import slots
from inference.jobs.model import Accepted
from inference.jobs.order import key_in
from inference.jobs.ports import JobPorts
from inference.jobs.trace import kept
from inference.serving.model import Service
from inference.telemetry import metrics

Parsed: TypeAlias = tuple[bytes, int, str]
"""Payload, rows and bucket of an input."""
Options: TypeAlias = Mapping[str, Any]
"""Those of `PLAIN`: the further arguments of a `JobSpec`, all of them."""

PLAIN: Options = {
    "priority": 0,
    "timeout_s": None,
    "deadline": None,
    "callback_url": None,
    "callback_events": 1,
    "metadata": None,
}


def submit(
    ports: JobPorts, store: BulkStore, *, by: Principal, service_id: str, tasks: Sequence[tuple[Parsed, Options]]
) -> Accepted:
    """Returns when the jobs, all of them, are committed. Order of ids = order of `tasks`; later ids are greater.

    Raises ServiceNotFound, WrongState, BacklogFull, QuotaExceeded, BudgetExhausted, DataRefused, NoRoom,
    StoreUnavailable; in each case none of them was stored. It may be called for the next ones at once: others get
    their turn to write in between.
    """
    service, _ = ports.directory.find(by.scope, service_id)
    now = ports.store.now_s()
    payloads = [payload for (payload, _, _), _ in tasks]
    columns = _columns(service, tasks)
    if ports.spending is not None:
        ports.spending.check(service.tenant_id, service.id, min(columns["priority"]))
    ports.admission.admit(by, jobs=len(tasks), payload_bytes=sum(map(len, payloads)))
    loads = list(map(Load, columns["rows"], columns["priority"]))
    places = ports.fair.places(by, service, loads, now=now)
    if ports.traces is not None and (trace := tracing.current()) is not None:
        columns["metadata"] = [kept(one, trace) for one in columns["metadata"]]
    if (who := who_answers(ports.directory, service)) is not None:
        columns["input_key"] = [key_of(who, payload) for payload in payloads]
    alike, differing = _told_apart(columns)
    ids, steps = new_ids(len(tasks)), tracing.steps(ports.traces)
    store.insert(
        Block(
            ids=ids,
            order_keys=_order_keys(service, columns, places, now=now),
            payloads=payloads,
            tenant_id=by.scope.tenant_id,
            service_id=service.id,
            alike={
                "submitted_at": now,
                "max_attempts": service.config.max_attempts,
                "key_id": by.key_id,
                **alike,
            },
            differing=differing,
        )
    )
    if steps is not None:
        steps.done("commit", **{"penstock.tasks": len(ids)})
    ports.bell.ring(service.id, slots=slots(service))
    metrics.submitted.labels(service.id).inc(len(ids))
    metrics.commits.inc()
    metrics.submissions.inc()
    return Accepted(job_ids=tuple(ids), created_at=now)


def _columns(service: Service, tasks: Sequence[tuple[Parsed, Options]]) -> dict[str, list[Any]]:
    """What a task decides, as columns of the table of jobs."""
    inputs, options = zip(*tasks, strict=True)
    columns = {"rows": [rows for _, rows, _ in inputs], "bucket": [bucket for _, _, bucket in inputs]}
    if len(set(map(id, options))) == 1:  # most streams say nothing of their tasks
        return columns | {name: [value] * len(tasks) for name, value in _settled(service, options[0]).items()}
    settled = [_settled(service, given) for given in options]
    return columns | {name: [one[name] for one in settled] for name in settled[0]}


def _settled(service: Service, given: Options) -> dict[str, Any]:
    metadata, timeout_s = given["metadata"], given["timeout_s"]
    return {
        **given,
        "timeout_s": service.config.timeout_s if timeout_s is None else timeout_s,
        "metadata": None if metadata is None else orjson.dumps(metadata).decode(),
    }


def _told_apart(columns: Mapping[str, list[Any]]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What is alike for all jobs, and what is not."""
    alike, differing = {}, {}
    for name, values in columns.items():
        if values.count(values[0]) == len(values):
            alike[name] = values[0]
        else:
            differing[name] = values
    return alike, differing


def _order_keys(
    service: Service, columns: Mapping[str, list[Any]], places: Iterable[float], *, now: float
) -> list[float]:
    config = service.config
    return [
        place - priority * config.head_start_s
        if deadline is None  # `order_key` of what has none, and of a place that is not before now
        else key_in(config, submitted_at=now, priority=priority, deadline=deadline, place=place)
        for place, priority, deadline in zip(places, columns["priority"], columns["deadline"], strict=True)
    ]
