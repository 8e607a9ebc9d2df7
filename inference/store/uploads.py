"""Uploads in SQL."""

import builtins
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from inference.access import acting
from inference.errors import UploadNotFound
from inference.registry.ports import StoredBlob, Upload
from inference.store import auditing, tables
from inference.store.database import Database

_uploads = tables.uploads
CREATED, DELETED = "upload.create", "upload.delete"
_SHOWN = (_uploads.c.id, _uploads.c.sha256, _uploads.c.size_bytes, _uploads.c.created_at, _uploads.c.expires_at)


class SqlUploads:
    """An UploadStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())

    def insert(self, tenant_id: str, upload_id: str, blob: StoredBlob, *, keep_s: float | None = None) -> Upload:
        """The row of a content that lies in the blob store."""
        row = {
            "id": upload_id,
            "tenant_id": tenant_id,
            "sha256": blob.key,
            "size_bytes": blob.size_bytes,
            "created_at": self._now,
            "expires_at": None if keep_s is None else self._now + keep_s,
            "key_id": acting.key_id(),
        }
        with self._database.write() as connection:
            upload = _upload(connection.execute(sa.insert(_uploads).values(row).returning(*_SHOWN)).one())
            self._note(connection, CREATED, tenant_id, upload)
        return upload

    def get(self, tenant_id: str, upload_id: str) -> Upload:
        """Raises UploadNotFound."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(*_SHOWN).where(self._is(tenant_id, upload_id))).first()
        if row is None:
            raise _unknown(upload_id)
        return _upload(row)

    def list(self, tenant_id: str, *, limit: int, before_id: str | None = None) -> Sequence[Upload]:
        """Newest first."""
        wanted = sa.select(*_SHOWN).where(_uploads.c.tenant_id == tenant_id, self._lives())
        if before_id is not None:
            wanted = wanted.where(_uploads.c.id < before_id)
        with self._database.read() as connection:
            return [_upload(row) for row in connection.execute(wanted.order_by(_uploads.c.id.desc()).limit(limit))]

    def delete(self, tenant_id: str, upload_id: str) -> Upload:
        """The row that went. Raises UploadNotFound."""
        with self._database.write() as connection:
            row = connection.execute(
                sa.delete(_uploads).where(self._is(tenant_id, upload_id)).returning(*_SHOWN)
            ).first()
            if row is None:
                raise _unknown(upload_id)
            upload = _upload(row)
            self._note(connection, DELETED, tenant_id, upload)
        return upload

    def expire(self, *, limit: int) -> int:
        """See `UploadStore.expire`. Looks before it takes SQLite's one turn to write."""
        late = sa.select(_uploads.c.id).where(_uploads.c.expires_at <= self._now).limit(limit)
        with self._database.read() as connection:
            ids: builtins.list[str] = list(connection.execute(late).scalars())
        if not ids:
            return 0
        with self._database.write() as connection:
            return connection.execute(sa.delete(_uploads).where(_uploads.c.id.in_(ids))).rowcount

    def _is(self, tenant_id: str, upload_id: str) -> sa.ColumnElement[bool]:
        return sa.and_(_uploads.c.id == upload_id, _uploads.c.tenant_id == tenant_id, self._lives())

    def _lives(self) -> sa.ColumnElement[bool]:
        return sa.or_(_uploads.c.expires_at.is_(None), _uploads.c.expires_at > self._now)

    def _note(self, connection: sa.Connection, action: str, tenant_id: str, upload: Upload) -> None:
        told = {"sha256": upload.key, "size_bytes": upload.size_bytes}
        auditing.note(
            self._database,
            connection,
            action=action,
            kind="upload",
            object_id=upload.id,
            tenant_id=tenant_id,
            before=told if action == DELETED else None,
            after=told if action == CREATED else None,
        )


def _upload(row: Any) -> Upload:
    key, size = row.sha256, row.size_bytes
    return Upload(id=row.id, key=key, size_bytes=size, created_at=row.created_at, expires_at=row.expires_at)


def _unknown(upload_id: str) -> UploadNotFound:
    return UploadNotFound(f"There is no upload {upload_id[:80]}.", upload_id=upload_id[:80])
