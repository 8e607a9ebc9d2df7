"""A history out of a database and the two logs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from inference.store import tables
from inference.store.database import Database
from inference.tensors import unpack
from tests.chaos.history import Attempt, Effect, Event, History, Job, Life, Move

T = TypeVar("T")
JOBS = (
    "id, tenant_id, service_id, state, generation, attempt, max_attempts, callback_url, callback_events, "
    "body FROM jobs LEFT JOIN payloads ON job_id = id"
)
MOVES = (
    "seq, at, job_id, service_id, before, state, generation, attempt, is_claimable, is_cancel_asked, order_key, "
    "instance_id, instance_generation FROM chaos_moves ORDER BY seq"
)


def read(database: Database, *, client: Path | None, effects: Path | None, slack_s: float | None) -> History:
    """All of it, at once and in memory. A last line that was cut by a kill is left out."""
    has_trace = "chaos_moves" in sa.inspect(database.engine).get_table_names()
    with database.read() as connection:

        def rows(what: str, make: Callable[..., T]) -> list[T]:
            return [make(**row._mapping) for row in connection.execute(sa.text(f"SELECT {what}"))]

        return History(
            jobs=rows(JOBS, _job),
            attempts=rows(
                "job_id, generation, attempt, instance_id, outcome, batch_size FROM attempts "
                "ORDER BY job_id, generation, attempt",
                Attempt,
            ),
            results={row.job_id: json.loads(bytes(row.body)) for row in connection.execute(sa.select(tables.results))},
            outbox=rows("id, job_id, generation, event, job_state, state FROM outbox", Event),
            usage={
                (row.tenant_id, row.service_id): int(row.jobs)
                for row in connection.execute(
                    sa.text("SELECT tenant_id, service_id, sum(jobs) AS jobs FROM usage GROUP BY 1, 2")
                )
            },
            moves=rows(MOVES, _move) if has_trace else None,
            lives=rows("DISTINCT id AS instance_id, generation, pid FROM chaos_lives", Life) if has_trace else None,
            effects=[Effect(value=line["value"], pid=line["pid"]) for line in lines(effects)] if effects else None,
            client=lines(client) if client else (),
            slack_s=slack_s,
        )


def lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file that whoever wrote it may have died over."""
    texts = path.read_text().split("\n")
    return [json.loads(text) for text in texts[:-1] if text]


def _job(*, body: Any, **values: Any) -> Job:
    return Job(**values, value=None if body is None else _value(bytes(body)))


def _value(payload: bytes) -> float | None:
    """The first element of the first tensor: what tells this job from all others."""
    try:
        tensors: Mapping[str, Any] = unpack(payload)
    except Exception:  # hostile payloads are part of the load
        return None
    first = next(iter(tensors.values()), None)
    return float(first.flat[0]) if first is not None and first.size else None


def _move(*, is_claimable: int, is_cancel_asked: int, **values: Any) -> Move:
    return Move(**values, is_claimable=bool(is_claimable), is_cancel_asked=bool(is_cancel_asked))
