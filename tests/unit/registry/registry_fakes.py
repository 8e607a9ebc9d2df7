"""The registry's outside in memory, and a trial that runs in this process."""

import atexit
import dataclasses
import hashlib
import tempfile
from pathlib import Path

from inference.engines import catalog
from inference.engines import hooks as hooks_of
from inference.engines.base import LoadSpec
from inference.errors import ModelNotFound, NotFound, TooLarge, UploadNotFound, VersionExists
from inference.registry import trial
from inference.registry.ports import RegistryPorts, StoredBlob, Upload
from inference.settings import EnginesSettings, RegistrySettings

PLUGINS = ",".join(
    f"{name}=tests.engines_for_tests:{kind}"
    for name, kind in {"double": "Double", "runs-code": "RunsCode", "crash": "CrashOnLoad"}.items()
)

_FOLDER = tempfile.TemporaryDirectory(prefix="penstock-memory-blobs-")
atexit.register(_FOLDER.cleanup)


class MemoryModels:
    def __init__(self, uploads):
        self.rows, self._uploads = {}, uploads

    def insert(self, model):
        if self.find(model.tenant_id, model.name, model.version):
            raise VersionExists("exists")
        self.rows[model.id] = model

    def get(self, tenant_id, model_id):
        if model_id not in self.rows:
            raise ModelNotFound("no such model")
        return self.rows[model_id]

    def find(self, tenant_id, name, version):
        wanted = (tenant_id, name, version)
        return next((row for row in self.rows.values() if (row.tenant_id, row.name, row.version) == wanted), None)

    def list(self, tenant_id, *, name=None, limit=100, before_id=None):
        rows = sorted(self.rows.values(), key=lambda row: row.id, reverse=True)
        return [row for row in rows if name in (None, row.name) and (before_id is None or row.id < before_id)][:limit]

    def set_state(self, tenant_id, model_id, state):
        self.rows[model_id] = dataclasses.replace(self.get(tenant_id, model_id), state=state)
        return self.rows[model_id]

    def delete(self, tenant_id, model_id, *, seen_by=None):
        del self.rows[model_id]

    def blob_users(self, key):
        named = [key for row in self.rows.values() for key in (row.sha256, row.golden)]
        return [*named, *(blob.key for blob in self._uploads.rows.values())].count(key)


class MemoryUploads:
    def __init__(self):
        self.rows = {}

    def insert(self, tenant_id, upload_id, blob, *, keep_s=None):
        values = {"key": blob.key, "size_bytes": blob.size_bytes, "created_at": 0.0, "expires_at": None}
        self.rows[upload_id] = Upload(id=upload_id, **values)
        return self.rows[upload_id]

    def get(self, tenant_id, upload_id):
        if upload_id not in self.rows:
            raise UploadNotFound("no such upload")
        return self.rows[upload_id]


class MemoryBlobs:
    """Keeps contents in memory; `path` writes one out for those who look into it."""

    def __init__(self):
        self.contents = {}

    def put_stream(self, source, *, limit_bytes):
        content = b"".join(source)
        if len(content) > limit_bytes:
            raise TooLarge("too large", limit_bytes=limit_bytes)
        return self.put_bytes(content)

    def put_bytes(self, content):
        key = hashlib.sha256(content).hexdigest()
        self.contents[key] = content
        return StoredBlob(key=key, size_bytes=len(content))

    def has(self, key):
        return key in self.contents

    def path(self, key):
        if key not in self.contents:
            raise NotFound("no such blob")
        file = Path(_FOLDER.name) / key
        file.write_bytes(self.contents[key])
        return file

    def delete(self, key, *, unless=None):
        if not (unless and unless()):
            self.contents.pop(key, None)


def inspect_here(path, *, framework, hooks, golden, options, settings, engines):
    load = catalog.find(framework, engines.plugins)
    return trial.run(load(LoadSpec(path=path, options=options)), hooks_of.compile(hooks), golden)


def make_ports(inspect=inspect_here, **settings):
    uploads = MemoryUploads()
    return RegistryPorts(
        models=MemoryModels(uploads),
        uploads=uploads,
        blobs=MemoryBlobs(),
        settings=RegistrySettings(**settings),
        engines=EnginesSettings(plugins=PLUGINS),
        inspect=inspect,
    )
