"""Keys, tenants and backups by the database itself, as who may read its file may: also while nothing runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import marshmallow as ma

from api.cli.failure import CallFailed
from api.schemas import access as schemas
from inference import settings as settings_room
from inference import wiring
from inference.access import acting, keys, tenants
from inference.access.model import Principal, Reach, Role, Scope
from inference.core import Core
from inference.errors import InvalidField, PenstockError, ServiceNotFound
from inference.ids import DEFAULT_TENANT, is_id
from inference.serving import query
from inference.settings import Settings
from inference.store import migrate, schema
from inference.store.database import Database

Json = dict[str, Any]


@contextmanager
def opened(environ: Mapping[str, str], *, tenant_id: str | None, operation: str) -> Iterator["Direct"]:
    """The database that the settings name, brought to its schema when it is a fresh one. Raises CallFailed."""
    core: Core | None = None
    try:
        settings = settings_room.load(environ)
        _migrate_if_fresh(settings)
        core = wiring.build(settings)
        with acting.acting(acting.local(operation)):
            yield Direct(core, tenant_id or DEFAULT_TENANT)
    except PenstockError as error:
        raise CallFailed(error.message, code=error.code, details=error.details) from error
    finally:
        if core is not None:
            core.close()


def _migrate_if_fresh(settings: Settings) -> None:
    """A database that holds an older schema is left to `penstock migrate`: somebody may be at work on it."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database_url, settings.store)
    try:
        if schema.is_empty(database):
            migrate.upgrade(database)
    finally:
        database.close()


class Direct:
    """The calls of `Client` that keys, tenants and backups need, without a server; for one tenant at a time.

    Raises PenstockError, which `opened` turns into CallFailed.
    """

    def __init__(self, core: Core, tenant_id: str) -> None:
        self._core = core
        self._access = core.access
        self._by = Principal(name=acting.local_user(), role=Role.ADMIN, scope=Scope(tenant_id), reach=Reach.SYSTEM)

    def is_open(self) -> bool:
        """Whether no person's key was ever made, so that nobody is asked for one."""
        known = self._access.keys.changes(0)
        asks = self._core.settings.access.require_keys
        return not asks and (known is None or not known.is_closed)

    def service_id(self, name: str) -> str:
        """The id of a service given by id or by name. Raises ServiceNotFound."""
        found = query.find(self._core.serving, scope=self._by.scope, limit=1000)
        for service in found:
            if name in (service.id, service.name):
                return service.id
        if is_id(name):
            return query.get(self._core.serving, scope=self._by.scope, service_id=name).id
        raise ServiceNotFound(f"There is no service called '{name}'.", name=name)

    def create_backup(self, body: Json) -> Json:
        from api.schemas import backups
        from inference.backup import archive, make

        if "archive" in body:
            return backups.backup(make.take_in(self._core.backup, archive.of_object(body["archive"])))
        whose = {"tenant_id": body.get("tenant_id") or "", "with_keys": body["with_keys"]}
        return backups.backup(make.make(self._core.backup, **whose))

    def backups(self, *, limit: int) -> Json:
        from api.schemas import backups

        return {"backups": [backups.backup(one) for one in self._core.backup.snapshots.list(None, limit=limit)]}

    def backup_content(self, backup_id: str) -> bytes:
        return self._core.backup.snapshots.content(None, backup_id)

    def restore_backup(self, backup_id: str, **asked: Any) -> Json:
        from api.schemas import backups
        from inference.backup import archive
        from inference.backup.restore import restore

        steps = restore(
            self._core.backup,
            archive.read(self.backup_content(backup_id)),
            tenant_id=asked["tenant_id"] or "",
            is_dry=asked["dry_run"],
            skips_refused=asked["skip_refused"],
            source=backup_id,
        )
        told = backups.restored(backup_id, steps, is_dry=asked["dry_run"], shows_all=asked["all"])
        shown: Json = backups.Restored().dump(told)
        return shown

    def delete_backup(self, backup_id: str) -> Json:
        self._core.backup.snapshots.delete(None, backup_id)
        return {}

    def create_key(self, body: Json) -> Json:
        by = self._by
        made = keys.create(
            self._access,
            by=by,
            name=body["name"],
            role=schemas.role_of(body["role"]),
            scope=Scope(by.scope.tenant_id, body.get("workspace_id"), body.get("service_id")),
            is_system=body.get("is_system", False),
            expires_at=schemas.expiry_of(body),
        )
        return {**schemas.key(made.key), "key": made.text}

    def keys(self, *, limit: int) -> Json:
        return {"keys": [schemas.key(key) for key in keys.find(self._access, by=self._by, limit=limit)]}

    def key(self, key_id: str) -> Json:
        return schemas.key(keys.get(self._access, by=self._by, key_id=key_id))

    def rotate_key(self, key_id: str, body: Json) -> Json:
        made = keys.rotate(self._access, by=self._by, key_id=key_id, overlap_s=body["overlap_s"])
        return {**schemas.key(made.key), "key": made.text}

    def revoke_key(self, key_id: str) -> Json:
        return schemas.key(keys.revoke(self._access, by=self._by, key_id=key_id))

    def create_tenant(self, body: Json) -> Json:
        made = tenants.create(
            self._access,
            tenant_id=body["tenant_id"],
            name=body.get("name"),
            limits=schemas.limits_of(_limits(body)),
        )
        return schemas.tenant(made)

    def tenants(self, *, limit: int) -> Json:
        return {"tenants": [schemas.tenant(tenant) for tenant in tenants.find(self._access, limit=limit)]}

    def tenant(self, tenant_id: str) -> Json:
        return schemas.tenant(tenants.get(self._access, tenant_id=tenant_id))

    def change_tenant(self, tenant_id: str, body: Json) -> Json:
        limits = None
        if "limits" in body:
            limits = schemas.limits_of(_limits(body), tenants.get(self._access, tenant_id=tenant_id).limits)
        changed = tenants.change(
            self._access,
            by=self._by,
            tenant_id=tenant_id,
            name=body.get("name"),
            limits=limits,
            is_disabled=body.get("disabled"),
        )
        return schemas.tenant(changed)

    def delete_tenant(self, tenant_id: str) -> Json:
        tenants.delete(self._access, by=self._by, tenant_id=tenant_id)
        return {}


def _limits(body: Json) -> dict[str, Any]:
    """What the body says of limits, of the right kinds. Raises InvalidField."""
    try:
        asked: dict[str, Any] = schemas.TenantLimitsIn().load(body.get("limits", {}))
    except ma.ValidationError as error:
        raise InvalidField(f"limits: {error.messages}", field="limits") from error
    return asked
