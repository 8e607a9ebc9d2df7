"""Tenants in SQL, and how limits are written there."""

import builtins
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inference.access.model import Limits, Tenant
from inference.errors import InUse, NameExists, TenantNotFound
from inference.store import auditing, revoking
from inference.store.database import Database
from inference.store.epochs import next_epoch
from inference.store.tables import (
    api_keys,
    budgets,
    jobs,
    models,
    report_contents,
    report_schedules,
    reports,
    services,
    tenants,
    uploads,
)
from inference.store.upsert import insert_new

_LIMITS = tuple(field.name for field in dataclasses.fields(Limits))


class SqlTenants:
    """The `TenantStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())

    def insert(self, tenant: Tenant) -> None:
        with self._db.write() as connection:
            row = {
                "id": tenant.id,
                "name": tenant.name,
                "created_at": tenant.created_at,
                "limits": limits_text(tenant.limits),
                "epoch": next_epoch(connection),
            }
            # Records, usage and webhook secrets of a deleted tenant stay under its id: nobody inherits them.
            was_used = sa.select(api_keys.c.id).where(api_keys.c.tenant_id == tenant.id).limit(1)
            is_taken = connection.execute(was_used).first() is not None
            if is_taken or not insert_new(connection, self._db, tenants, row):
                raise NameExists(f"A tenant '{tenant.id}' exists or existed; choose another id.", name=tenant.id)
            self._note(connection, "tenant.create", tenant.id, None, tenant)

    def get(self, tenant_id: str) -> Tenant:
        with self._db.read() as connection:
            return _one(connection, tenant_id)

    def list(self, *, limit: int, after_id: str | None = None) -> "builtins.list[Tenant]":
        query = sa.select(tenants).order_by(tenants.c.id).limit(limit)
        if after_id is not None:
            query = query.where(tenants.c.id > after_id)
        with self._db.read() as connection:
            return [tenant_of(row) for row in connection.execute(query)]

    def change(
        self, tenant_id: str, *, name: str | None = None, limits: Limits | None = None, is_disabled: bool | None = None
    ) -> Tenant:
        values: dict[str, Any] = {}
        if name is not None:
            values["name"] = name
        if limits is not None:
            values["limits"] = limits_text(limits)
        if is_disabled is not None:
            values["disabled_at"] = self._clock if is_disabled else None
        with self._db.write() as connection:
            before = _one(connection, tenant_id, lock=True)
            values["epoch"] = next_epoch(connection)
            change = sa.update(tenants).where(tenants.c.id == tenant_id).values(values).returning(tenants)
            after = tenant_of(connection.execute(change).one())
            self._note(connection, "tenant.change", tenant_id, before, after)
            return after

    def delete(self, tenant_id: str) -> None:
        with self._db.write() as connection:
            before = _one(connection, tenant_id, lock=True)
            for table, word in ((services, "services"), (models, "models"), (uploads, "uploads"), (jobs, "tasks")):
                owned = sa.select(table.c.id).where(table.c.tenant_id == tenant_id).limit(1)
                if connection.execute(owned).first() is not None:
                    raise InUse(f"The tenant {tenant_id} has {word}; delete those first.", tenant_id=tenant_id)
            # Its keys stay as revoked rows: a process that learns of changes by epoch must see them change.
            next_epoch(connection)  # also for none: whoever makes a key now waits, and finds no tenant
            connection.execute(sa.delete(tenants).where(tenants.c.id == tenant_id))
            its_reports = sa.select(reports.c.id).where(reports.c.tenant_id == tenant_id)
            connection.execute(sa.delete(report_contents).where(report_contents.c.report_id.in_(its_reports)))
            for table in (reports, report_schedules, budgets):
                connection.execute(sa.delete(table).where(table.c.tenant_id == tenant_id))
            revoking.revoke(self._db, connection, tenant_id, sa.true())
            self._note(connection, "tenant.delete", tenant_id, before, None)

    def _note(
        self, connection: sa.Connection, action: str, tenant_id: str, before: Tenant | None, after: Tenant | None
    ) -> None:
        auditing.note(
            self._db,
            connection,
            action=action,
            kind="tenant",
            object_id=tenant_id,
            tenant_id=tenant_id,
            before=None if before is None else dataclasses.asdict(before),
            after=None if after is None else dataclasses.asdict(after),
        )


def tenant_of(row: "sa.Row[Any]") -> Tenant:
    """The tenant of a row of `tenants`."""
    return Tenant(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        limits=limits_of(json.loads(row.limits)),
        is_disabled=row.disabled_at is not None,
    )


def limits_text(limits: Limits) -> str:
    """JSON of the limits that are set."""
    values = dataclasses.asdict(limits)
    return json.dumps({name: value for name, value in values.items() if value is not None})


def limits_of(values: Mapping[str, Any]) -> Limits:
    """What a newer version wrote besides is left aside."""
    return Limits(**{name: value for name, value in values.items() if name in _LIMITS})


def _one(connection: sa.Connection, tenant_id: str, *, lock: bool = False) -> Tenant:
    query = sa.select(tenants).where(tenants.c.id == tenant_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise TenantNotFound(f"There is no tenant '{tenant_id[:64]}'.", tenant_id=tenant_id[:64])
    return tenant_of(row)
