"""Jobs with keys of their inputs, for the tests of what equal inputs share."""

import dataclasses
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.ids import DEFAULT_TENANT
from inference.jobs.cache import key_of, variant
from inference.jobs.cache_model import Keep
from inference.jobs.model import Accepted, Claimant, NewJob, Submission
from inference.store import tables
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.tensors import NanPolicy
from tests.contract import jobs
from tests.contract.jobs import completed, job, queue

MODEL, NEXT_MODEL = "a" * 32, "b" * 32
FIRST, SECOND = variant(MODEL, NanPolicy.NULL), variant(NEXT_MODEL, NanPolicy.NULL)
KEPT = Keep(ttl_s=60.0, has_inputs=True)
WHOLE = Scope(DEFAULT_TENANT)
URL = "https://example.com/hook"


def keyed(payload: bytes = b"payload", *, who: str = FIRST, **changes: Any) -> NewJob:
    return job(payload=payload, input_key=key_of(who, payload), **changes)


def send(store: SqlJobs, *new: NewJob) -> Accepted:
    """As a service with a cache sends them."""
    (answer,) = store.insert([Submission(tenant_id=DEFAULT_TENANT, jobs=new, may_hit=True)])
    assert isinstance(answer, Accepted), answer
    return answer


def run_one(store: SqlJobs, by: Claimant, payload: bytes = b"payload", keep: Keep | None = KEPT) -> NewJob:
    sent = keyed(payload)
    queue(store, sent)
    (claimed,) = store.claim(by, max_rows=1).jobs
    store.finish(by, [completed(claimed)], keep=keep)
    return sent


def used(database: Database) -> tuple[int, int, float]:
    with database.read() as connection:
        found = connection.execute(sa.text("SELECT sum(jobs), sum(rows), sum(engine_s) FROM usage")).one()
    return int(found[0]), int(found[1]), float(found[2])


def events(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(tables.outbox.c.id).order_by(tables.outbox.c.id)).scalars())


def entries(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(sa.select(tables.result_cache).order_by(tables.result_cache.c.used_at)).all())


def set_entry(database: Database, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(tables.result_cache.update().values(**values))


def switch(database: Database, model_id: str, **config: Any) -> None:
    with database.write() as connection:
        connection.execute(tables.services.update().values(model_id=model_id, **config))


def worker(database: Database) -> Claimant:
    """An engine process of the first version."""
    return dataclasses.replace(jobs.add_instance(database), model_id=MODEL, variant=FIRST)
