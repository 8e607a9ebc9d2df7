"""Reads the audit record."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from inference.access.model import AuditRecord
from inference.access.ports import AuditFilter
from inference.store.database import Database
from inference.store.tables import audit, audit_head


class SqlAudit:
    """The `AuditStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def find(self, which: AuditFilter) -> Sequence[AuditRecord]:
        columns = audit.c
        parts = (
            (which.tenant_id, columns.tenant_id == which.tenant_id),
            (which.action, columns.action == which.action),
            (which.actor_id, columns.actor_id == which.actor_id),
            (which.object_kind, columns.object_kind == which.object_kind),
            (which.object_id, columns.object_id == which.object_id),
            (which.at_from, columns.at >= which.at_from),
            (which.at_to, columns.at < which.at_to),
            (which.before_seq, columns.seq < which.before_seq),
            (which.after_seq, columns.seq > which.after_seq),
        )
        conditions = [condition for value, condition in parts if value is not None]
        order = columns.seq.asc() if which.after_seq is not None else columns.seq.desc()
        query = sa.select(audit).where(*conditions).order_by(order).limit(which.limit)
        with self._db.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def head(self) -> tuple[int, str]:
        with self._db.read() as connection:
            row = connection.execute(sa.select(audit_head).where(audit_head.c.id == 1)).one_or_none()
            return (0, "") if row is None else (row.seq, row.hash)


def _record(row: "sa.Row[Any]") -> AuditRecord:
    return AuditRecord(**{**row._mapping, "before": json.loads(row.before), "after": json.loads(row.after)})
