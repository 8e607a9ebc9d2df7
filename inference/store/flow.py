"""What the tables say of the work of all services, for the sampler: statements over whole sets, by partial indexes."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from inference.store.database import Database
from inference.store.jobs_count import live
from inference.telemetry.ports import SLOTS_PER_S
from inference.telemetry.sample import Look, Work


class SqlFlow:
    """`Flow` on SQLite and PostgreSQL. `now_s`: the clock by which jobs end."""

    def __init__(self, database: Database, now_s: Callable[[], float]) -> None:
        self._db = database
        self.now_s = now_s
        self._ended = sa.text(_ended(database))
        self._count = sa.text("SELECT count(*) FROM jobs WHERE completed_at >= :since AND completed_at < :until")
        waiting, delayed, running = live(database)
        self._queues = sa.text(
            f"SELECT service_id, count(*) AS waiting, 0 AS running {waiting} GROUP BY service_id UNION ALL "
            f"SELECT service_id, count(*), 0 {delayed} GROUP BY service_id UNION ALL "
            f"SELECT service_id, 0, count(*) {running} GROUP BY service_id"
        )
        self._looks = sa.text(
            "SELECT r.service_id, r.instances_ready, r.usage, d.node_id, d.uuid, d.figures, d.source FROM replicas r "
            "LEFT JOIN devices d ON d.node_id = r.node_id AND d.uuid = r.device"
        )
        self._batches = sa.text(
            "SELECT s.id, max(p.max_batch) AS most FROM services s JOIN profiles p ON p.model_id = s.model_id "
            "GROUP BY s.id"
        )

    def ended(self, first: int, until: int) -> Mapping[int, Mapping[str, Work]]:
        found: defaultdict[int, defaultdict[str, Work]] = defaultdict(lambda: defaultdict(Work))
        with self._db.read() as connection:
            for row in connection.execute(self._ended, _between(first, until)):
                _add(found[int(row.slot)][row.service_id], row)
        return found

    def count(self, first: int, until: int) -> int:
        with self._db.read() as connection:
            return int(connection.execute(self._count, _between(first, until)).scalar_one())

    def queues(self) -> Mapping[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        with self._db.read() as connection:
            for service_id, waiting, running in connection.execute(self._queues):
                known = found.get(service_id, (0, 0))
                found[service_id] = known[0] + waiting, known[1] + running
        return found

    def looks(self) -> Mapping[str, Look]:
        replicas: defaultdict[str, list[Any]] = defaultdict(list)
        with self._db.read() as connection:
            for row in connection.execute(self._looks):
                replicas[row.service_id].append(row)
        return {service_id: _look(rows) for service_id, rows in replicas.items()}

    def max_batches(self) -> Mapping[str, int]:
        with self._db.read() as connection:
            return {row.id: int(row.most) for row in connection.execute(self._batches)}


def _between(first: int, until: int) -> dict[str, float]:
    return {"since": first / SLOTS_PER_S, "until": until / SLOTS_PER_S}


def _ended(db: Database) -> str:
    """One row for what ended alike in a slot; durations come as a list in one text, in whole microseconds."""
    slot = f"CAST({'' if db.is_sqlite else 'floor'}(completed_at * {SLOTS_PER_S}) AS bigint)"
    gather = "group_concat({}, ',')" if db.is_sqlite else "string_agg(CAST({} AS text), ',')"
    # A task may have been started by another clock than it was submitted by: no duration is below zero.
    micros = "CASE WHEN state = 'completed' THEN CAST(({}) * 1000000 AS bigint) END"
    latency, wait = "completed_at - submitted_at", "started_at - submitted_at"
    is_run = "state IN ('completed', 'failed') AND batch_size > 0"
    return (
        f"SELECT {slot} AS slot, service_id, state, error_code, count(*) AS n, "
        f"sum(CASE WHEN {is_run} THEN 1 ELSE 0 END) AS tasks_run, "
        f"sum(CASE WHEN {is_run} THEN 1.0 / batch_size ELSE 0.0 END) AS batches, "
        "sum(CASE WHEN state = 'completed' THEN completed_at - started_at END) AS run_s, "
        f"{gather.format(micros.format(latency))} AS latencies, {gather.format(micros.format(wait))} AS waits "
        "FROM jobs WHERE completed_at >= :since AND completed_at < :until "
        "GROUP BY 1, service_id, state, error_code"
    )


def _add(work: Work, row: Any) -> None:
    work.tasks_run += row.tasks_run
    work.batches += float(row.batches)
    if row.state == "completed":
        latencies, waits = _micros(row.latencies), _micros(row.waits)
        work.completed += row.n
        work.latency_s += sum(latencies) / 1e6
        work.wait_s += sum(waits) / 1e6
        work.run_s += max(0.0, float(row.run_s or 0.0))
        work.latencies.add_micros(latencies)
        work.waits.add_micros(waits)
    elif row.state in ("failed", "dead"):
        work.failed += row.n
        work.errors[row.error_code or "unknown"] += row.n
    else:
        work.other += row.n


def _micros(text: str | None) -> list[int]:
    return [max(0, int(one)) for one in text.split(",")] if text else []


def _look(rows: list[Any]) -> Look:
    """Of the replicas of one service; a card that two of them share counts once."""
    usages = [json.loads(row.usage) for row in rows if row.usage]
    cards = {(row.node_id, row.uuid): row for row in rows if row.uuid is not None}
    figures = [json.loads(row.figures) for row in cards.values() if row.figures]
    busy = [float(one["utilisation_percent"]) / 100 for one in figures if "utilisation_percent" in one]
    used = [float(one["memory_used_bytes"]) for one in figures if "memory_used_bytes" in one]
    return Look(
        instances=sum(row.instances_ready for row in rows),
        cpu=round(sum(float(one.get("cpu_percent") or 0) for one in usages) / 100, 4) if usages else None,
        memory_bytes=sum(float(one.get("rss_bytes") or 0) for one in usages) if usages else None,
        gpu_share=sum(busy) / len(busy) if busy else None,
        gpu_memory_bytes=sum(used) if used else None,
        gpu_source=next((str(row.source) for row in cards.values()), None),
    )
