"""What reports are made of: short reads, each bounded by an index, so that nobody who claims waits for a report."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields

import sqlalchemy as sa

from inference.reports.model import AlertSeen, SlowTask, Subject
from inference.reports.ports import Window
from inference.store.database import Database
from inference.store.series import SqlSeries
from inference.store.tables import alerts, services
from inference.telemetry.series import Span

MOST_SERVICES = 1_000


class SqlReportSources:
    """`ReportSources` on SQLite and PostgreSQL. `max_batches`: the largest measured batch by service."""

    def __init__(self, database: Database, max_batches: Callable[[], Mapping[str, int]]) -> None:
        self._db = database
        self._max_batches = max_batches
        self._series = SqlSeries(database)
        # SQLite would go through all tasks of the service.
        jobs = "jobs INDEXED BY ix_jobs_completed_at" if database.is_sqlite else "jobs"
        ended = (
            f"FROM {jobs} WHERE completed_at IS NOT NULL AND completed_at >= :since AND completed_at < :until "
            "AND service_id = :service AND tenant_id = :tenant"
        )
        self._slow = sa.text(
            f"SELECT id, service_id, submitted_at, started_at, completed_at, worker {ended} AND state = 'completed' "
            "ORDER BY completed_at - submitted_at DESC, id LIMIT :n"
        )
        self._failed = sa.text(
            f"SELECT id, error_message {ended} AND error_code = :code ORDER BY completed_at DESC LIMIT 1"
        )

    def subjects(self, tenant_id: str, service_id: str) -> Sequence[Subject]:
        query = sa.select(services.c.id, services.c.name, services.c.state).where(services.c.tenant_id == tenant_id)
        if service_id:
            query = query.where(services.c.id == service_id)
        with self._db.read() as connection:
            found = connection.execute(query.order_by(services.c.name).limit(MOST_SERVICES)).all()
        known = self._max_batches() if found else {}
        return [Subject(id=row.id, name=row.name, state=row.state, max_batch=known.get(row.id, 0)) for row in found]

    def spans(self, service_ids: Collection[str], *, step_s: int, since: int, until: int) -> Sequence[Span]:
        return [
            span
            for service_id in service_ids
            for span in self._series.of_service(service_id, step_s=step_s, since=since, until=until)
        ]

    def newest(self, step_s: int) -> int | None:
        return self._series.newest(step_s)

    def slowest(self, tenant_id: str, windows: Collection[Window], *, limit: int) -> Sequence[SlowTask]:
        found: list[SlowTask] = []
        for service_id, since, until in windows:
            bound = {"service": service_id, "tenant": tenant_id, "since": since, "until": until, "n": limit}
            with self._db.read() as connection:  # one by one: a transaction of a moment each
                found += [SlowTask(**row._mapping) for row in connection.execute(self._slow, bound)]
        return sorted(found, key=lambda task: (-task.latency_s, task.id))[:limit]

    def failed(self, tenant_id: str, window: Window, code: str) -> tuple[str, str | None] | None:
        service_id, since, until = window
        bound = {"service": service_id, "tenant": tenant_id, "since": since, "until": until, "code": code}
        with self._db.read() as connection:
            row = connection.execute(self._failed, bound).first()
        return None if row is None else (row.id, row.error_message)

    def alerts(self, tenant_id: str, service_id: str, *, since: float, until: float, limit: int) -> Sequence[AlertSeen]:
        query = sa.select(*(alerts.c[each.name] for each in fields(AlertSeen))).where(
            alerts.c.tenant_id == tenant_id,
            alerts.c.fired_at.is_not(None),
            alerts.c.fired_at < until,
            alerts.c.resolved_at.is_(None) | (alerts.c.resolved_at >= since),
        )
        if service_id:
            query = query.where(alerts.c.service_id == service_id)
        with self._db.read() as connection:
            found = connection.execute(query.order_by(alerts.c.fired_at.desc()).limit(limit))
            return [AlertSeen(**row._mapping) for row in found]
