"""What webhooks are signed with, by tenant."""

import builtins

import sqlalchemy as sa

from inference.ids import new_id
from inference.notify import sign
from inference.store import auditing
from inference.store.database import Database
from inference.store.tables import tenants, webhook_secrets


class SqlWebhookSecrets:
    """The `WebhookSecrets` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())

    def in_force(self, tenant_id: str) -> "builtins.list[str]":
        with self._db.read() as connection:
            found = self._find(connection, tenant_id)
        if found:
            return found
        with self._db.write() as connection:
            # The tenant's row is locked, so that of two who come first one makes the secret.
            connection.execute(sa.select(tenants.c.id).where(tenants.c.id == tenant_id).with_for_update())
            if not (found := self._find(connection, tenant_id)):
                found = [sign.new_secret()]
                self._insert(connection, tenant_id, found[0])
            return found

    def rotate(self, tenant_id: str, secret: str, *, overlap_s: float) -> None:
        with self._db.write() as connection:
            connection.execute(sa.select(tenants.c.id).where(tenants.c.id == tenant_id).with_for_update())
            live = (webhook_secrets.c.tenant_id == tenant_id) & webhook_secrets.c.expires_at.is_(None)
            connection.execute(sa.update(webhook_secrets).where(live).values(expires_at=self._clock + overlap_s))
            self._insert(connection, tenant_id, secret)
            auditing.note(
                self._db,
                connection,
                action="webhooks.rotate",
                kind="tenant",
                object_id=tenant_id,
                tenant_id=tenant_id,
                after={"overlap_s": overlap_s},
            )

    def _find(self, connection: sa.Connection, tenant_id: str) -> "builtins.list[str]":
        table = webhook_secrets.c
        live = table.expires_at.is_(None) | (table.expires_at > self._clock)
        query = sa.select(table.secret).where((table.tenant_id == tenant_id) & live)
        return list(connection.execute(query.order_by(table.created_at.desc(), table.id.desc())).scalars())

    def _insert(self, connection: sa.Connection, tenant_id: str, secret: str) -> None:
        row = {"id": new_id(), "tenant_id": tenant_id, "secret": secret, "created_at": self._clock}
        connection.execute(sa.insert(webhook_secrets).values(row))
