"""Reports, their contents and schedules, as rows; what people do to them with its audit record."""

import builtins
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import BacklogFull, QuotaExceeded, ReportNotFound, ReportScheduleNotFound, WrongState
from inference.reports.model import UNDER_WAY, Every, Format, Report, ReportState, Schedule
from inference.store import auditing
from inference.store.database import Database
from inference.store.scoped import rows_in
from inference.store.tables import report_contents, report_schedules, reports

_COLUMNS = [column for column in reports.c if column.name not in ("due_at", "leased_by")]
_NAMES = ", ".join(column.name for column in _COLUMNS)


class SqlReports:
    """`ReportStore` on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        clock = database.clock
        lock = "" if database.is_sqlite else " FOR UPDATE SKIP LOCKED"
        due = f"due_at IS NOT NULL AND due_at <= {clock}"
        # Every tenant's, for the system's own work.
        self._take = sa.text(
            f"UPDATE reports SET due_at = {clock} + :lease, leased_by = :by, "
            "attempt = CASE WHEN state IN ('pending', 'running') THEN attempt + 1 ELSE attempt END, "
            f"started_at = CASE WHEN state IN ('pending', 'running') THEN {clock} ELSE started_at END, "
            "state = CASE WHEN state = 'pending' THEN 'running' ELSE state END "
            f"WHERE id = (SELECT id FROM reports WHERE {due} ORDER BY due_at LIMIT 1{lock}) RETURNING {_NAMES}"
        )
        self._is_due = sa.text(
            f"SELECT EXISTS (SELECT 1 FROM reports WHERE {due}) "
            f"OR EXISTS (SELECT 1 FROM report_schedules WHERE next_at <= {clock})"
        )

    def now_s(self) -> float:
        with self._db.read() as connection:
            return self._db.now_s(connection)

    def ask(self, report: Report, *, most: int) -> Report:
        waiting = sa.select(sa.func.count()).where(
            reports.c.tenant_id == report.tenant_id, reports.c.state.in_([state.value for state in UNDER_WAY])
        )
        with self._db.write() as connection:
            count = connection.execute(waiting.select_from(reports)).scalar_one()
            if count >= most:
                raise BacklogFull(
                    f"{count} reports wait to be made already; {most} are the most.",
                    of="tenant", waiting=count, limit=most, retry_after_s=10,
                )  # fmt: skip
            made = self._insert(connection, report)
            auditing.note(
                self._db,
                connection,
                action="report.create",
                kind="report",
                object_id=made.id,
                tenant_id=made.tenant_id,
                after={name: getattr(made, name) for name in ("service_id", "format", "language", "since", "until")},
            )
        return made

    def _insert(self, connection: sa.Connection, report: Report) -> Report:
        now = self._db.now_s(connection)
        made = dataclasses.replace(report, created_at=now)
        connection.execute(sa.insert(reports).values(**_row(made), due_at=now))
        return made

    def get(self, scope: Scope, report_id: str) -> Report:
        with self._db.read() as connection:
            return self._get(connection, scope, report_id)

    def _get(self, connection: sa.Connection, scope: Scope, report_id: str) -> Report:
        query = sa.select(*_COLUMNS).where(rows_in(scope, reports), reports.c.id == report_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise ReportNotFound(f"There is no report {report_id}.", id=report_id)
        return _report(row)

    def list(
        self, scope: Scope, *, service_id: str | None, limit: int, before_id: str | None
    ) -> "builtins.list[Report]":
        where = [rows_in(scope, reports)]
        if service_id is not None:
            where.append(reports.c.service_id == service_id)
        if before_id is not None:
            where.append(reports.c.id < before_id)
        query = sa.select(*_COLUMNS).where(*where).order_by(reports.c.id.desc()).limit(limit)
        with self._db.read() as connection:
            return [_report(row) for row in connection.execute(query)]

    def content(self, scope: Scope, report_id: str) -> bytes:
        query = sa.select(report_contents.c.body).where(report_contents.c.report_id == report_id)
        with self._db.read() as connection:
            report = self._get(connection, scope, report_id)
            body = connection.execute(query).scalar_one_or_none()
        if report.state is not ReportState.COMPLETED or body is None:
            raise WrongState(
                f"The report is {report.state.value}; only a completed one has content.",
                state=report.state.value, allowed=[ReportState.COMPLETED.value],
            )  # fmt: skip
        return bytes(body)

    def delete(self, scope: Scope, report_id: str) -> None:
        with self._db.write() as connection:
            report = self._get(connection, scope, report_id)
            connection.execute(sa.delete(reports).where(rows_in(scope, reports), reports.c.id == report_id))
            connection.execute(sa.delete(report_contents).where(report_contents.c.report_id == report_id))
            auditing.note(
                self._db,
                connection,
                action="report.delete",
                kind="report",
                object_id=report_id,
                tenant_id=report.tenant_id,
                before={"service_id": report.service_id, "format": report.format, "created_at": report.created_at},
            )

    def is_due(self) -> bool:
        with self._db.read() as connection:
            return bool(connection.execute(self._is_due).scalar_one())

    def take(self, *, by: str, lease_s: float) -> Report | None:
        """The lease is `due_at` itself, moved ahead: who dies leaves a report that is due again after it."""
        with self._db.write() as connection:
            row = connection.execute(self._take, {"by": by, "lease": float(lease_s)}).one_or_none()
        return None if row is None else _report(row)

    def complete(self, report: Report, *, by: str, body: bytes, summary: str) -> bool:
        with self._db.write() as connection:
            values = {"state": ReportState.COMPLETED.value, "summary": summary, "size_bytes": len(body)}
            if not self._end(connection, report, by, values):
                return False
            connection.execute(sa.insert(report_contents).values(report_id=report.id, body=body))
        return True

    def fail(self, report: Report, *, by: str, code: str, message: str) -> bool:
        values = {"state": ReportState.FAILED.value, "error_code": code, "error_message": message}
        with self._db.write() as connection:
            return self._end(connection, report, by, values)

    def _end(self, connection: sa.Connection, report: Report, by: str, values: dict[str, Any]) -> bool:
        now = self._db.now_s(connection)
        mine = _held(report, by) & (reports.c.state == ReportState.RUNNING.value)
        values |= {"ended_at": now, "leased_by": None, "due_at": now if report.is_to_tell else None}
        return connection.execute(sa.update(reports).where(mine).values(**values)).rowcount == 1

    def told(
        self, report: Report, *, by: str, mailed: bool, posted: bool, delay_s: float | None, note: str | None
    ) -> bool:
        with self._db.write() as connection:
            now = self._db.now_s(connection)
            values: dict[str, Any] = {"tell_attempts": report.tell_attempts + 1, "tell_note": note, "leased_by": None}
            values["due_at"] = None if delay_s is None else now + delay_s
            if mailed:
                values["mailed_at"] = now
            if posted:
                values["posted_at"] = now
            return connection.execute(sa.update(reports).where(_held(report, by)).values(**values)).rowcount == 1

    def forget(self, *, keep_s: float, limit: int) -> int:
        with self._db.write() as connection:
            before = self._db.now_s(connection) - keep_s
            old = sa.select(reports.c.id).where(reports.c.created_at < before).order_by(reports.c.created_at)
            ids = connection.execute(old.limit(limit)).scalars().all()
            if ids:
                connection.execute(sa.delete(report_contents).where(report_contents.c.report_id.in_(ids)))
                connection.execute(sa.delete(reports).where(reports.c.id.in_(ids)))
        return len(ids)

    def schedule(self, schedule: Schedule, *, most: int) -> Schedule:
        count = sa.select(sa.func.count()).where(report_schedules.c.tenant_id == schedule.tenant_id)
        with self._db.write() as connection:
            used = connection.execute(count.select_from(report_schedules)).scalar_one()
            if used >= most:
                raise QuotaExceeded(
                    f"The tenant has {used} schedules of reports; {most} are the most.",
                    of="tenant", quota="report_schedules", limit=most, used=used,
                )  # fmt: skip
            made = dataclasses.replace(schedule, created_at=self._db.now_s(connection))
            connection.execute(sa.insert(report_schedules).values(**_schedule_row(made)))
            self._audit(connection, "report_schedule.create", made)
        return made

    def schedules(self, scope: Scope, *, service_id: str | None) -> Sequence[Schedule]:
        where = [rows_in(scope, report_schedules)]
        if service_id is not None:
            where.append(report_schedules.c.service_id == service_id)
        with self._db.read() as connection:
            found = connection.execute(sa.select(report_schedules).where(*where).order_by(report_schedules.c.id))
            return [_schedule(row) for row in found]

    def unschedule(self, scope: Scope, schedule_id: str) -> None:
        mine = rows_in(scope, report_schedules) & (report_schedules.c.id == schedule_id)
        with self._db.write() as connection:
            row = connection.execute(sa.delete(report_schedules).where(mine).returning(report_schedules)).one_or_none()
            if row is None:
                raise ReportScheduleNotFound(f"There is no report schedule {schedule_id}.", id=schedule_id)
            self._audit(connection, "report_schedule.delete", _schedule(row))

    def due(self, *, limit: int) -> Sequence[Schedule]:
        with self._db.read() as connection:
            now = self._db.now_s(connection)
            query = sa.select(report_schedules).where(report_schedules.c.next_at <= now)
            found = connection.execute(query.order_by(report_schedules.c.next_at).limit(limit))
            return [_schedule(row) for row in found]

    def make_from(self, schedule: Schedule, report: Report | None, *, next_at: float) -> bool:
        seen = (report_schedules.c.id == schedule.id) & (report_schedules.c.next_at == schedule.next_at)
        with self._db.write() as connection:
            if connection.execute(sa.update(report_schedules).where(seen).values(next_at=next_at)).rowcount != 1:
                return False
            if report is not None:
                self._insert(connection, report)
        return True

    def drop(self, schedule: Schedule) -> None:
        with self._db.write() as connection:
            connection.execute(sa.delete(report_schedules).where(report_schedules.c.id == schedule.id))

    def _audit(self, connection: sa.Connection, action: str, schedule: Schedule) -> None:
        """A URL may hold a secret in its query: the audit record keeps the part before it."""
        told = {**_schedule_row(schedule), "post_to": schedule.post_to.partition("?")[0]}
        told = {name: value for name, value in told.items() if name not in ("id", "tenant_id", "created_at", "next_at")}
        is_made = action.endswith("create")
        auditing.note(
            self._db,
            connection,
            action=action,
            kind="report_schedule",
            object_id=schedule.id,
            tenant_id=schedule.tenant_id,
            before=None if is_made else told,
            after=told if is_made else None,
        )


def _held(report: Report, by: str) -> sa.ColumnElement[bool]:
    """Still leased by this maker, in this attempt."""
    return (reports.c.id == report.id) & (reports.c.leased_by == by) & (reports.c.attempt == report.attempt)


def _row(report: Report) -> dict[str, Any]:
    return {
        **dataclasses.asdict(report),
        "format": report.format.value,
        "state": report.state.value,
        "mail_to": json.dumps(report.mail_to),
    }


def _report(row: "sa.Row[Any]") -> Report:
    kinds = {"format": Format(row.format), "state": ReportState(row.state), "mail_to": tuple(json.loads(row.mail_to))}
    return Report(**{**row._mapping, **kinds})


def _schedule_row(schedule: Schedule) -> dict[str, Any]:
    return {
        **dataclasses.asdict(schedule),
        "every": schedule.every.value,
        "format": schedule.format.value,
        "mail_to": json.dumps(schedule.mail_to),
    }


def _schedule(row: "sa.Row[Any]") -> Schedule:
    kinds = {"every": Every(row.every), "format": Format(row.format), "mail_to": tuple(json.loads(row.mail_to))}
    return Schedule(**{**row._mapping, **kinds})
