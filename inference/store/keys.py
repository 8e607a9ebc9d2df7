"""API keys in SQL: digests, never texts."""

import builtins
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inference.access.model import ApiKey, Limits, Role, Scope
from inference.access.ports import Changes, KeyChange
from inference.errors import KeyNotFound, TenantNotFound, WrongState
from inference.store import auditing
from inference.store.database import Database
from inference.store.epochs import next_epoch
from inference.store.tables import access_epoch, api_keys, tenants
from inference.store.tenants import limits_of, limits_text, tenant_of


class SqlKeys:
    """The `KeyStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())

    def insert(self, key: ApiKey, digest: bytes, *, only_first: bool = False) -> bool:
        """The epoch's row is locked before anything is asked: one of two first keys is first, and no tenant goes."""
        with self._db.write() as connection:
            row = {**_row(key), "digest": digest, "epoch": next_epoch(connection)}
            if only_first and _is_closed(connection):
                return False
            _must_exist(connection, key.scope.tenant_id)
            connection.execute(sa.insert(api_keys).values(row))
            self._note(connection, "key.create", None, key)
            return True

    def get(self, within: Scope, key_id: str) -> ApiKey:
        with self._db.read() as connection:
            return _key(_one(connection, within, key_id))

    def list(self, within: Scope, *, limit: int, before: tuple[float, str] | None = None) -> "builtins.list[ApiKey]":
        query = sa.select(api_keys).where(_in(within))
        if before is not None:
            query = query.where(sa.tuple_(api_keys.c.created_at, api_keys.c.id) < sa.tuple_(*map(sa.literal, before)))
        newest = query.order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc()).limit(limit)
        with self._db.read() as connection:
            return [_key(row) for row in connection.execute(newest)]

    def change(self, within: Scope, key_id: str, *, name: str | None = None, limits: Limits | None = None) -> ApiKey:
        values: dict[str, Any] = {}
        if name is not None:
            values["name"] = name
        if limits is not None:
            values["limits"] = limits_text(limits)
        with self._db.write() as connection:
            return self._update(connection, "key.change", within, key_id, values)

    def rotate(self, within: Scope, key_id: str, digest: bytes, *, overlap_s: float) -> ApiKey:
        with self._db.write() as connection:
            row = _one(connection, within, key_id, lock=True)
            now = self._db.now_s(connection)
            if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
                state = "revoked" if row.revoked_at is not None else "expired"
                raise WrongState(f"The key {key_id} is {state}; make a new one.", state=state, allowed=["active"])
            values = {
                "digest": digest,
                "previous_digest": row.digest if overlap_s > 0 else None,
                "previous_until": now + overlap_s if overlap_s > 0 else None,
                "rotated_at": now,
            }
            return self._update(connection, "key.rotate", within, key_id, values)

    def revoke(self, within: Scope, key_id: str) -> ApiKey:
        with self._db.write() as connection:
            if (row := _one(connection, within, key_id, lock=True)).revoked_at is not None:
                return _key(row)
            return self._update(connection, "key.revoke", within, key_id, {"revoked_at": self._clock})

    def changes(self, since: int) -> Changes | None:
        """The epoch is read first: what is committed between the reads is read again the next time."""
        with self._db.read() as connection:
            row = connection.execute(
                sa.select(access_epoch.c.epoch, self._clock.label("now")).where(access_epoch.c.id == 1)
            ).one()
            if row.epoch == since:
                return None
            keys = connection.execute(sa.select(api_keys).where(api_keys.c.epoch > since)).all()
            changed = connection.execute(sa.select(tenants).where((tenants.c.epoch > since) | (since == 0))).all()
            return Changes(
                epoch=row.epoch,
                now=row.now,
                keys=tuple(KeyChange(key=_key(one), digests=_digests(one)) for one in keys),
                tenants=tuple(tenant_of(one) for one in changed),
                is_closed=_is_closed(connection),
            )

    def _update(
        self, connection: sa.Connection, action: str, within: Scope, key_id: str, values: Mapping[str, Any]
    ) -> ApiKey:
        before = _key(_one(connection, within, key_id, lock=True))
        change = (
            sa.update(api_keys)
            .where(_in(within) & (api_keys.c.id == key_id))
            .values({**values, "epoch": next_epoch(connection)})
            .returning(api_keys)
        )
        after = _key(connection.execute(change).one())
        self._note(connection, action, before, after)
        return after

    def _note(self, connection: sa.Connection, action: str, before: ApiKey | None, after: ApiKey) -> None:
        auditing.note(
            self._db,
            connection,
            action=action,
            kind="key",
            object_id=after.id,
            tenant_id=after.scope.tenant_id,
            before=None if before is None else dataclasses.asdict(before),
            after=dataclasses.asdict(after),
        )


def _in(within: Scope) -> sa.ColumnElement[bool]:
    inside: sa.ColumnElement[bool] = api_keys.c.tenant_id == within.tenant_id
    if within.workspace is not None:
        inside &= api_keys.c.workspace == within.workspace
    if within.service_id is not None:
        inside &= api_keys.c.service_id == within.service_id
    return inside


def _one(connection: sa.Connection, within: Scope, key_id: str, *, lock: bool = False) -> "sa.Row[Any]":
    query = sa.select(api_keys).where(_in(within) & (api_keys.c.id == key_id))
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise KeyNotFound(f"There is no API key {key_id[:32]}.", key_id=key_id[:32])
    return row


def _must_exist(connection: sa.Connection, tenant_id: str) -> None:
    if connection.execute(sa.select(tenants.c.id).where(tenants.c.id == tenant_id)).first() is None:
        raise TenantNotFound(f"There is no tenant '{tenant_id[:64]}'.", tenant_id=tenant_id[:64])


def _is_closed(connection: sa.Connection) -> bool:
    """Whether a person's key was ever made, revoked and expired ones counted."""
    made = sa.select(api_keys.c.id).where(sa.not_(api_keys.c.is_for_service)).limit(1)
    return connection.execute(made).first() is not None


def _digests(row: "sa.Row[Any]") -> tuple[tuple[bytes, float | None], ...]:
    if row.previous_digest is None:
        return ((bytes(row.digest), None),)
    return (bytes(row.digest), None), (bytes(row.previous_digest), row.previous_until)


def _row(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant_id": key.scope.tenant_id,
        "workspace": key.scope.workspace,
        "service_id": key.scope.service_id,
        "is_system": key.is_system,
        "is_for_service": key.is_for_service,
        "name": key.name,
        "role": key.role.value,
        "limits": limits_text(key.limits),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
    }


def _key(row: "sa.Row[Any]") -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        scope=Scope(row.tenant_id, row.workspace, row.service_id),
        is_system=row.is_system,
        is_for_service=row.is_for_service,
        limits=limits_of(json.loads(row.limits)),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        rotated_at=row.rotated_at,
        previous_until=row.previous_until,
        revoked_at=row.revoked_at,
    )
