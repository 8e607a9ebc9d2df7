"""The registry's ports in memory."""

import dataclasses
import hashlib
import tempfile
import time
from pathlib import Path

from inference.errors import InUse, ModelNotFound, NotFound, UploadNotFound, VersionExists
from inference.registry.ports import StoredBlob, Upload


def page(rows, *, limit, before_id):
    """Newest first, from the cursor on."""
    found = [row for row in rows if before_id is None or row.id < before_id]
    return sorted(found, key=lambda row: row.id, reverse=True)[:limit]


class FakeModels:
    def __init__(self):
        self.rows = {}
        self.in_use = set()

    def insert(self, model):
        if self.find(model.tenant_id, model.name, model.version):
            raise VersionExists(f"{model.name} {model.version} exists.", name=model.name)
        self.rows[model.id] = model

    def get(self, tenant_id, model_id):
        if model_id not in self.rows:
            raise ModelNotFound(f"There is no model {model_id}.", id=model_id)
        return self.rows[model_id]

    def find(self, tenant_id, name, version):
        return next((row for row in self.rows.values() if (row.name, row.version) == (name, version)), None)

    def list(self, tenant_id, *, name=None, limit=100, before_id=None):
        rows = [row for row in self.rows.values() if name in (None, row.name)]
        return page(rows, limit=limit, before_id=before_id)

    def set_state(self, tenant_id, model_id, state):
        self.rows[model_id] = dataclasses.replace(self.rows[model_id], state=state)
        return self.rows[model_id]

    def delete(self, tenant_id, model_id, *, seen_by=None):
        if model_id in self.in_use:
            raise InUse(f"A service uses model {model_id}.", id=model_id)
        del self.rows[model_id]

    def blob_users(self, key):
        return 1

    def bytes_named(self):
        return {"models": 0, "uploads": 0, "results": 0}


class FakeUploads:
    def __init__(self):
        self.rows = {}

    def insert(self, tenant_id, upload_id, blob, *, keep_s=None):
        now = time.time()
        self.rows[upload_id] = Upload(
            id=upload_id,
            key=blob.key,
            size_bytes=blob.size_bytes,
            created_at=now,
            expires_at=None if keep_s is None else now + keep_s,
        )
        return self.rows[upload_id]

    def get(self, tenant_id, upload_id):
        if upload_id not in self.rows:
            raise UploadNotFound(f"There is no upload {upload_id}.", id=upload_id)
        return self.rows[upload_id]

    def list(self, tenant_id, *, limit, before_id=None):
        return page(self.rows.values(), limit=limit, before_id=before_id)

    def delete(self, tenant_id, upload_id):
        gone = self.get(tenant_id, upload_id)
        del self.rows[upload_id]
        return gone


class FakeBlobs:
    """Keeps contents in memory; `path` writes one out for those who want a file."""

    def __init__(self):
        self.contents = {}
        self._folder = None

    def put_stream(self, source, *, limit_bytes):
        return self.put_bytes(source.read() if hasattr(source, "read") else b"".join(source))

    def put_bytes(self, content):
        key = hashlib.sha256(content).hexdigest()
        self.contents[key] = content
        return StoredBlob(key=key, size_bytes=len(content))

    def has(self, key):
        return key in self.contents

    def path(self, key):
        if key not in self.contents:
            raise NotFound(f"There is no blob {key}.", key=key)
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="penstock-fake-blobs-")
        file = Path(self._folder.name) / key
        file.write_bytes(self.contents[key])
        return file

    def delete(self, key, *, unless=None):
        self.contents.pop(key, None)

    def close(self):
        if self._folder:
            self._folder.cleanup()
