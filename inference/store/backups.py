"""Snapshots of the configuration as rows, each with its archive, compressed."""

import builtins
import dataclasses
import json
import zlib
from typing import Any

import sqlalchemy as sa

from inference.backup.model import Origin, Snapshot
from inference.errors import BackupNotFound
from inference.ids import DEFAULT_TENANT
from inference.store import auditing
from inference.store.database import Database
from inference.store.tables import backups

_SHOWN = [column for column in backups.columns if column.name != "content"]


class SqlBackups:
    """`SnapshotStore` on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def insert(self, snapshot: Snapshot, content: bytes) -> Snapshot:
        packed = zlib.compress(content)
        with self._db.write() as connection:
            made = dataclasses.replace(snapshot, made_at=self._db.now_s(connection))
            values = dataclasses.asdict(made) | {"objects": json.dumps(made.objects), "origin": made.origin.value}
            connection.execute(sa.insert(backups).values(**values, content=packed))
            self._note(connection, "backup.create", made, is_there=True)
        return made

    def list(self, tenant_id: str | None, *, limit: int, before_id: str | None = None) -> "builtins.list[Snapshot]":
        query = sa.select(*_SHOWN).where(_of(tenant_id))
        if before_id is not None:
            query = query.where(backups.c.id < before_id)
        with self._db.read() as connection:
            return [_snapshot(row) for row in connection.execute(query.order_by(backups.c.id.desc()).limit(limit))]

    def get(self, tenant_id: str | None, backup_id: str) -> Snapshot:
        with self._db.read() as connection:
            row = connection.execute(sa.select(*_SHOWN).where(_one(tenant_id, backup_id))).one_or_none()
        if row is None:
            raise _missing(backup_id)
        return _snapshot(row)

    def content(self, tenant_id: str | None, backup_id: str) -> bytes:
        query = sa.select(backups.c.content).where(_one(tenant_id, backup_id))
        with self._db.read() as connection:
            packed = connection.execute(query).scalar_one_or_none()
        if packed is None:
            raise _missing(backup_id)
        return zlib.decompress(bytes(packed))

    def delete(self, tenant_id: str | None, backup_id: str) -> None:
        gone = sa.delete(backups).where(_one(tenant_id, backup_id)).returning(*_SHOWN)
        with self._db.write() as connection:
            row = connection.execute(gone).one_or_none()
            if row is None:
                raise _missing(backup_id)
            self._note(connection, "backup.delete", _snapshot(row), is_there=False)

    def newest_digest(self) -> str | None:
        query = sa.select(backups.c.digest).where(_scheduled())
        with self._db.read() as connection:
            found = connection.execute(query.order_by(backups.c.id.desc()).limit(1)).scalar_one_or_none()
        return None if found is None else str(found)

    def forget(self, *, keep: int) -> int:
        newest = sa.select(backups.c.id).where(_scheduled()).order_by(backups.c.id.desc()).limit(keep)
        with self._db.write() as connection:
            kept = list(connection.execute(newest).scalars())
            old = sa.delete(backups).where(_scheduled(), backups.c.id.not_in(kept))
            return connection.execute(old).rowcount

    def _note(self, connection: sa.Connection, action: str, snapshot: Snapshot, *, is_there: bool) -> None:
        told = {"digest": snapshot.digest, "origin": snapshot.origin.value, "objects": dict(snapshot.objects)}
        auditing.note(
            self._db,
            connection,
            action=action,
            kind="backup",
            object_id=snapshot.id,
            tenant_id=snapshot.tenant_id or DEFAULT_TENANT,
            before=None if is_there else told,
            after=told if is_there else None,
        )


def _of(tenant_id: str | None) -> sa.ColumnElement[bool]:
    return sa.true() if tenant_id is None else backups.c.tenant_id == tenant_id


def _one(tenant_id: str | None, backup_id: str) -> sa.ColumnElement[bool]:
    return _of(tenant_id) & (backups.c.id == backup_id)


def _scheduled() -> sa.ColumnElement[bool]:
    return (backups.c.tenant_id == "") & (backups.c.origin == Origin.SCHEDULED.value)


def _snapshot(row: "sa.Row[Any]") -> Snapshot:
    values = {**row._mapping, "origin": Origin(row.origin), "objects": json.loads(row.objects)}
    return Snapshot(**values)


def _missing(backup_id: str) -> BackupNotFound:
    return BackupNotFound(f"There is no backup {backup_id[:64]}.", backup_id=backup_id[:64])
