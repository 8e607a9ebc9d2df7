"""Reads the audit record."""

import json
from collections.abc import Sequence
from operator import eq, ge, gt, lt
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
            (eq, columns.tenant_id, which.tenant_id),
            (eq, columns.action, which.action),
            (eq, columns.actor_id, which.actor_id),
            (eq, columns.object_kind, which.object_kind),
            (eq, columns.object_id, which.object_id),
            (ge, columns.at, which.at_from),
            (lt, columns.at, which.at_to),
            (lt, columns.seq, which.before_seq),
            (gt, columns.seq, which.after_seq),
        )
        conditions = [compare(column, value) for compare, column, value in parts if value is not None]
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
