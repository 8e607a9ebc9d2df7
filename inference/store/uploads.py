"""Uploads in SQL."""

import sqlalchemy as sa

from inference.access import acting
from inference.clock import epoch_s
from inference.errors import UploadNotFound
from inference.registry.ports import StoredBlob
from inference.store import auditing, tables
from inference.store.database import Database

_uploads = tables.uploads


class SqlUploads:
    """An UploadStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, tenant_id: str, upload_id: str, blob: StoredBlob) -> None:
        """The row of a content that lies in the blob store."""
        row = {
            "id": upload_id,
            "tenant_id": tenant_id,
            "sha256": blob.key,
            "size_bytes": blob.size_bytes,
            "created_at": epoch_s(),
            "key_id": acting.key_id(),
        }
        with self._database.write() as connection:
            connection.execute(sa.insert(_uploads).values(row))
            auditing.note(
                self._database,
                connection,
                action="upload.create",
                kind="upload",
                object_id=upload_id,
                tenant_id=tenant_id,
                after={"sha256": blob.key, "size_bytes": blob.size_bytes},
            )

    def get(self, tenant_id: str, upload_id: str) -> StoredBlob:
        """Raises UploadNotFound."""
        wanted = sa.select(_uploads.c.sha256, _uploads.c.size_bytes).where(
            _uploads.c.id == upload_id, _uploads.c.tenant_id == tenant_id
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
        if row is None:
            raise UploadNotFound(f"There is no upload {upload_id[:80]}.", upload_id=upload_id[:80])
        return StoredBlob(key=row.sha256, size_bytes=row.size_bytes)
