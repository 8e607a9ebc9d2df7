"""The ports of the backup room in memory: a configuration without objects, and the snapshots of it."""

import dataclasses

from inference.backup.ports import BackupPorts
from inference.errors import BackupNotFound
from inference.settings import BackupSettings


class FakeConfiguration:
    """`ConfigurationStore`. `now` is set by a test; what is carried out is kept in `done`."""

    schema = "0"

    def __init__(self):
        self.now, self.done = {"tenants": [], "keys": []}, []

    def read(self, tenant_id, *, with_keys):
        return self.now

    def apply(self, tenant_id, decide, *, source):
        self.done = decide(self.now)
        return self.done


class FakeSnapshots:
    """`SnapshotStore`."""

    def __init__(self):
        self.rows, self.contents = {}, {}

    def insert(self, snapshot, content):
        self.rows[snapshot.id] = dataclasses.replace(snapshot, made_at=1_000.0)
        self.contents[snapshot.id] = content
        return self.rows[snapshot.id]

    def list(self, tenant_id, *, limit, before_id=None):
        mine = [one for one in self.rows.values() if tenant_id in (None, one.tenant_id)]
        return sorted(mine, key=lambda one: one.id, reverse=True)[:limit]

    def get(self, tenant_id, backup_id):
        found = self.rows.get(backup_id)
        if found is None or tenant_id not in (None, found.tenant_id):
            raise BackupNotFound("none", backup_id=backup_id)
        return found

    def content(self, tenant_id, backup_id):
        return self.contents[self.get(tenant_id, backup_id).id]

    def delete(self, tenant_id, backup_id):
        del self.rows[self.get(tenant_id, backup_id).id]

    def newest_digest(self):
        return None

    def forget(self, *, keep):
        return 0


def make_backup(*, serving, alerts, tenants, settings=None):
    return BackupPorts(
        configuration=FakeConfiguration(),
        snapshots=FakeSnapshots(),
        serving=serving,
        alerts=alerts,
        tenants=tenants,
        has_blob=lambda key: True,
        settings=settings or BackupSettings(),
    )
