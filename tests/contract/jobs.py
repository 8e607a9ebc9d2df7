"""Rows and values that the tests of the job store begin with, and a look at what they left."""

import json
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from inference.ids import DEFAULT_TENANT, new_id
from inference.jobs.model import Claimant, ClaimedJob, JobState, Moved, NewJob, Outcome, Submission
from inference.store import tables
from inference.store.database import Database

SERVICE = "5" * 32


def add_service(
    database: Database,
    service_id: str = SERVICE,
    *,
    state: str = "running",
    queues: bool = False,
    tenant_id: str = DEFAULT_TENANT,
) -> str:
    row = {
        "id": service_id,
        "tenant_id": tenant_id,
        "name": f"service {service_id}",
        "model_id": "a" * 32,
        "state": state,
        "config": "{}",
        "queue_while_stopped": queues,
        "revision": 1,
        "created_at": 0.0,
        "updated_at": 0.0,
    }
    with database.write() as connection:
        connection.execute(tables.services.insert(), row)
    return service_id


def add_instance(database: Database, service_id: str = SERVICE, *, lease_s: float = 60.0) -> Claimant:
    """An engine process with a valid lease, as a claimant."""
    by = Claimant(service_id=service_id, instance_id=new_id(), generation=1, worker="s.0@host/0", model_version="1.0.0")
    with database.write() as connection:
        now = database.now_s(connection)
        connection.execute(
            tables.instances.insert(),
            {
                "id": by.instance_id,
                "service_id": service_id,
                "replica_id": new_id(),
                "slot": 0,
                "replica_generation": 1,
                "generation": by.generation,
                "pid": 1,
                "lease_until": now + lease_s,
                "opened_at": now,
            },
        )
    return by


def end_lease(database: Database, by: Claimant) -> None:
    with database.write() as connection:
        connection.execute(
            tables.instances.update().where(tables.instances.c.id == by.instance_id).values(lease_until=0.0)
        )


def job(**changes: Any) -> NewJob:
    """A job row; `order_key` and all else as given."""
    now = time.time()
    plain: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": DEFAULT_TENANT,
        "service_id": SERVICE,
        "priority": 0,
        "order_key": now,
        "submitted_at": now,
        "deadline": None,
        "timeout_s": 60.0,
        "max_attempts": 3,
        "bucket": "x:float32[*,2]",
        "rows": 1,
        "callback_url": None,
        "metadata_json": None,
        "payload": b"payload",
    }
    return NewJob(**(plain | changes))


def alone(new: NewJob, *, key: str | None = None, body_hash: bytes = b"") -> Submission:
    return together(new, key=key, body_hash=body_hash)


def together(*jobs: NewJob, key: str | None = None, body_hash: bytes = b"") -> Submission:
    return Submission(tenant_id=jobs[0].tenant_id, jobs=jobs, idempotency_key=key, body_hash=body_hash)


def queue(store: Any, *jobs: NewJob) -> list[str]:
    """Commits the jobs, each sent by itself; their ids."""
    for answer in store.insert([alone(new) for new in jobs]):
        assert not isinstance(answer, Exception), answer
    return [new.id for new in jobs]


def completed(claimed: ClaimedJob, result: bytes = b'{"y": [[1.0]]}', **changes: Any) -> Outcome:
    now = time.time()
    plain = Outcome(
        job=claimed, state=JobState.COMPLETED, started_at=claimed.claimed_at, ended_at=now, batch_size=1, result=result
    )
    return msgspec.structs.replace(plain, **changes)


def ended(claimed: ClaimedJob, state: JobState, **changes: Any) -> Outcome:
    return completed(
        claimed, state=state, result=None, error_code="engine_failed", error_message="It broke.", **changes
    )


def became(changed: Mapping[str, Moved]) -> dict[str, JobState]:
    """The states in what `finish` says it changed."""
    return {job_id: moved.state for job_id, moved in changed.items()}


def row(database: Database, job_id: str) -> Mapping[str, Any]:
    with database.read() as connection:
        return connection.execute(sa.select(tables.jobs).where(tables.jobs.c.id == job_id)).mappings().one()


def change(database: Database, job_id: str, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(**values))


def states(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {found.id: found.state for found in connection.execute(sa.select(tables.jobs.c.id, tables.jobs.c.state))}


def attempts(database: Database, job_id: str) -> list[tuple[int, str]]:
    """(attempt, outcome), in order."""
    statement = (
        sa.select(tables.attempts.c.attempt, tables.attempts.c.outcome)
        .where(tables.attempts.c.job_id == job_id)
        .order_by(tables.attempts.c.generation, tables.attempts.c.attempt)
    )
    with database.read() as connection:
        return [(attempt, outcome) for attempt, outcome in connection.execute(statement)]


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def stored_result(database: Database, job_id: str) -> Any:
    with database.read() as connection:
        body = connection.execute(
            sa.select(tables.results.c.body).where(tables.results.c.job_id == job_id)
        ).scalar_one()
    return json.loads(bytes(body))
