"""What the autoscaler reads of jobs and replicas, a whole set of services at a time, and what it decides."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import ServiceNotFound
from inference.ids import new_id
from inference.jobs.cache import wants_keys
from inference.scaling.model import Unfinished
from inference.scaling.ports import DecisionRecord, Ended, Glance, Kept, Target
from inference.serving.model import MEANT_TO_RUN, Replica, Service
from inference.store.database import Database
from inference.store.replicas import replica_of
from inference.store.scoped import services_in
from inference.store.services import service_of
from inference.store.statement import Statement
from inference.store.tables import replicas, scaling_decisions, service_events, services

HEAD = 100
"""Waiting jobs whose priority and age are looked at; those behind them are only counted."""

_WAITS = "state = 'pending' AND not_before IS NULL"
_STATES = ", ".join(f"'{state.value}'" for state in sorted(MEANT_TO_RUN))

RESTS, WAKES = "rests: ", "wakes: "
"""How the history of a service tells of them: its state stays as it is."""


class SqlScaling:
    """The `ScalingStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        db = self._db = database
        self._parsed: dict[str, tuple[Any, Service]] = {}
        ids = f"(SELECT r.id FROM {db.rows_from('r', {'id': 'text'})}) AS w"
        # Whom the text of the config leaves in doubt is read, and left out then.
        self._watched = sa.text(
            f"SELECT {', '.join(column.name for column in services.columns)} FROM services "
            f'WHERE state IN ({_STATES}) AND (target_replicas = 0 OR config LIKE \'%"auto_scaling": {{"enabled": '
            "true%' OR config NOT LIKE '%\"idle_ttl_s\": null%') ORDER BY id"
        )
        waiting = f"SELECT 1 FROM jobs j{db.by('ix_jobs_pending')} WHERE j.service_id = w.id AND {_WAITS}"
        self._glances = sa.text(
            "SELECT w.id, (SELECT max(j.id) FROM jobs j WHERE j.service_id = w.id) AS newest, "
            f"EXISTS ({waiting}) AS waits, "
            "EXISTS (SELECT 1 FROM instances i JOIN jobs j ON j.instance_id = i.id AND j.state = 'running' "
            f"WHERE i.service_id = w.id) AS runs FROM {ids}"
        )
        count = f"{waiting} LIMIT :most"
        head = f"FROM jobs j WHERE j.service_id = w.id AND {_WAITS} ORDER BY j.order_key, j.id LIMIT {HEAD}"
        # Each has what the other lacks, or walks through all jobs for.
        heads = (
            f"JOIN jobs h ON h.id IN (SELECT j.id {head})"
            if db.is_sqlite
            else f"CROSS JOIN LATERAL (SELECT j.priority, j.submitted_at {head}) AS h"
        )
        self._unfinished = sa.text(
            f"SELECT 'all' AS kind, w.id AS service_id, 0 AS priority, (SELECT count(*) FROM ({count}) AS c) AS n, "
            f"0.0 AS since FROM {ids} UNION ALL "
            "SELECT 'head', w.id, h.priority, count(*), min(h.submitted_at) "
            f"FROM {ids} {heads} GROUP BY w.id, h.priority UNION ALL "
            "SELECT 'runs', w.id, j.priority, count(*), min(j.submitted_at) FROM "
            f"{ids} JOIN instances i ON i.service_id = w.id JOIN jobs j ON j.instance_id = i.id "
            "AND j.state = 'running' GROUP BY w.id, j.priority"
        )
        came = "j.service_id = w.id AND j.id >= :since AND j.id < :until"
        arrivals = f"SELECT w.id, (SELECT count(*) FROM jobs j WHERE {came}"
        self._arrivals = sa.text(f"{arrivals}) AS n FROM {ids}")
        # What the answer to an equal input has completed needs no engine; to see it, each row must be read.
        self._arrivals_run = sa.text(f"{arrivals} AND (j.attempt > 0 OR j.state <> 'completed')) AS n FROM {ids}")
        self._ended = Statement(
            db,
            "SELECT service_id, completed_at, completed_at - submitted_at, completed_at - started_at, batch_size "
            "FROM jobs WHERE completed_at > :since AND completed_at IS NOT NULL AND state = 'completed' "
            "AND batch_size > 0 ORDER BY completed_at DESC LIMIT :most",
        )
        self._replicas = sa.text(
            f"SELECT {', '.join(f'p.{column.name}' for column in replicas.columns)} "
            f"FROM {ids} JOIN replicas p ON p.service_id = w.id ORDER BY p.service_id, p.ordinal"
        )
        self._kept = sa.text(f"SELECT s.* FROM {ids} JOIN scaling s ON s.service_id = w.id")
        self._keep = sa.text(
            "INSERT INTO scaling (service_id, memory, start_s, work_s, saved_at) "
            f"SELECT s.id, :memory, :start_s, :work_s, {db.clock} FROM services s WHERE s.id = :service_id "
            "ON CONFLICT (service_id) DO UPDATE SET memory = excluded.memory, start_s = excluded.start_s, "
            "work_s = excluded.work_s, saved_at = excluded.saved_at"
        )

    def watched(self) -> Sequence[Service]:
        """A row is parsed again only when it has changed."""
        with self._db.read() as connection:
            rows = connection.execute(self._watched).all()
        found: dict[str, tuple[Any, Service]] = {}
        for row in rows:
            known = self._parsed.get(row[0])
            found[row[0]] = known if known and known[0] == row else (row, service_of(row))
        self._parsed = found
        return [
            service
            for _, service in found.values()
            if service.config.auto_scaling.enabled or service.is_resting or service.config.idle_ttl_s is not None
        ]

    def glances(self, service_ids: Collection[str]) -> Mapping[str, Glance]:
        return {
            row.id: Glance(newest_id=row.newest or "", waits=bool(row.waits), runs=bool(row.runs))
            for row in self._read(self._glances, service_ids)
        }

    def unfinished(self, service_ids: Collection[str], *, most: int) -> Mapping[str, Sequence[Unfinished]]:
        waiting: dict[str, int] = {}
        heads: defaultdict[str, dict[int, tuple[int, float]]] = defaultdict(dict)
        found: defaultdict[str, dict[int, tuple[int, float]]] = defaultdict(dict)
        now = self.now_s()
        for row in self._read(self._unfinished, service_ids, most=most):
            if row.kind == "all":
                waiting[row.service_id] = row.n
            else:
                part = heads if row.kind == "head" else found
                part[row.service_id][row.priority] = row.n, max(0.0, now - row.since)
        for service_id, head in heads.items():
            for priority, jobs in _spread(waiting[service_id], {p: n for p, (n, _) in head.items()}).items():
                running, age_s = found[service_id].get(priority, (0, 0.0))
                found[service_id][priority] = running + jobs, max(age_s, head[priority][1])
        return {
            service_id: tuple(Unfinished(priority=p, jobs=n, oldest_s=age) for p, (n, age) in sorted(parts.items()))
            for service_id, parts in found.items()
        }

    def arrivals(self, service_ids: Collection[str], *, since: float, until: float) -> Mapping[str, int]:
        bounds = {"since": _first_id(since), "until": _first_id(until)}
        sharing = {one for one in service_ids if one in self._parsed and wants_keys(self._parsed[one][1].config)}
        others = [one for one in service_ids if one not in sharing]
        rows = [*self._read(self._arrivals, others, **bounds), *self._read(self._arrivals_run, sharing, **bounds)]
        return {row.id: row.n for row in rows}

    def made_at(self, service_id: str, *, limit: int) -> Sequence[float]:
        """By their ids, which hold the time."""
        query = sa.text("SELECT id FROM jobs WHERE service_id = :s ORDER BY id DESC LIMIT :n")
        with self._db.read() as connection:
            ids = connection.execute(query, {"s": service_id, "n": limit}).scalars()
            return [int(job_id[:12], 16) / 1000 for job_id in ids]

    def ended(self, *, since: float, most: int) -> Sequence[Ended]:
        with self._db.read() as connection:
            rows = self._ended.rows(connection, {"since": since, "most": most})
        return [
            Ended(service_id=s, at=at, latency_s=max(0.0, latency), run_s=max(0.0, run or 0.0), batch_size=size)
            for s, at, latency, run, size in rows
        ]

    def replicas(self, service_ids: Collection[str]) -> Sequence[Replica]:
        return [replica_of(row) for row in self._read(self._replicas, service_ids)]

    def kept(self, service_ids: Collection[str]) -> Mapping[str, Kept]:
        return {
            row.service_id: Kept(memory=row.memory, start_s=row.start_s, work_s=row.work_s)
            for row in self._read(self._kept, service_ids)
        }

    def keep(self, kept: Mapping[str, Kept]) -> None:
        if not kept:
            return
        rows = [
            {"service_id": service_id, "memory": one.memory, "start_s": one.start_s, "work_s": one.work_s}
            for service_id, one in sorted(kept.items())
        ]
        with self._db.write() as connection:
            connection.execute(self._keep, rows)

    def decide(self, service: Service, target: Target, *, policy: str, reason: str, signals: str) -> bool:
        clock: sa.ColumnElement[float] = sa.literal_column(self._db.clock, sa.Double())
        change = (
            sa.update(services)
            .where(
                services.c.id == service.id,
                services.c.state.in_([state.value for state in MEANT_TO_RUN]),
                services.c.updated_at == service.updated_at,
                sa.func.coalesce(services.c.target_replicas, -1) == _or_none(service.target_replicas),
                sa.func.coalesce(services.c.target_instances, -1) == _or_none(service.target_instances),
            )
            .values(
                target_replicas=target.replicas,
                target_instances=target.instances,
                target_reason=None if target.replicas is None else reason,
                scaled_at=clock,
            )
        )
        config = service.config
        record = {
            "id": new_id(),
            "tenant_id": service.tenant_id,
            "service_id": service.id,
            "from_replicas": service.wanted_replicas,
            "from_instances": service.wanted_instances,
            "to_replicas": config.replicas if target.replicas is None else target.replicas,
            "to_instances": config.instances if target.instances is None else target.instances,
            "policy": policy,
            "reason": reason,
            "signals": signals,
        }
        with self._db.write() as connection:
            if connection.execute(change).rowcount != 1:
                return False
            connection.execute(sa.insert(scaling_decisions).values(at=clock, **record))
            if service.is_resting != (target.replicas == 0):
                state = service.state.value  # it stays so: it takes work, at rest or not
                told = f"{RESTS if target.replicas == 0 else WAKES}{reason}"
                event = {"service_id": service.id, "from_state": state, "to_state": state, "reason": told}
                connection.execute(sa.insert(service_events).values(id=new_id(), at=clock, **event))
        return True

    def decisions(
        self, scope: Scope, *, service_id: str | None = None, limit: int = 100, before_id: str | None = None
    ) -> Sequence[DecisionRecord]:
        """Raises ServiceNotFound for a service that is named and not in the scope."""
        table = scaling_decisions
        columns = [table.c[name] for name in DecisionRecord.__dataclass_fields__]
        mine = sa.select(services.c.id).where(services_in(scope))
        query = sa.select(*columns).where(table.c.tenant_id == scope.tenant_id)
        query = query.where(table.c.service_id == service_id if service_id else table.c.service_id.in_(mine))
        if before_id is not None:
            query = query.where(table.c.id < before_id)
        with self._db.read() as connection:
            if service_id and connection.execute(mine.where(services.c.id == service_id)).first() is None:
                raise ServiceNotFound(f"There is no service {service_id}.", service_id=service_id)
            rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit))
            return [DecisionRecord(**row._mapping) for row in rows]

    def forget(self, *, keep_s: float) -> int:
        """By their ids, which hold the time; and what histories tell of rests. How many decisions went."""
        first = _first_id(self.now_s() - keep_s)
        old = sa.delete(scaling_decisions).where(scaling_decisions.c.id < first)
        told = sa.delete(service_events).where(
            service_events.c.id < first,
            service_events.c.from_state == service_events.c.to_state,
            sa.or_(service_events.c.reason.startswith(RESTS), service_events.c.reason.startswith(WAKES)),
        )
        with self._db.write() as connection:
            connection.execute(told)
            return connection.execute(old).rowcount

    def now_s(self) -> float:
        with self._db.read() as connection:
            return self._db.now_s(connection)

    def _read(self, query: sa.TextClause, service_ids: Collection[str], **bound: Any) -> "Sequence[sa.Row[Any]]":
        if not service_ids:
            return ()
        rows = self._db.rows("r", ("id",), [(service_id,) for service_id in service_ids])
        with self._db.read() as connection:
            return connection.execute(query, rows | bound).all()


def _spread(jobs: int, head: Mapping[int, int]) -> dict[int, int]:
    """So many jobs by priority, as those of the head are; all of them are there again."""
    known = sum(head.values())
    if jobs <= known:
        return dict(head)
    parts = {priority: jobs * n // known for priority, n in head.items()}
    parts[max(head, key=lambda priority: head[priority])] += jobs - sum(parts.values())
    return parts


def _first_id(at: float) -> str:
    """Before every id that was made at `at` or later."""
    return f"{max(0, int(at * 1000)):012x}".ljust(32, "0")


def _or_none(count: int | None) -> int:
    return -1 if count is None else count
