"""Revokes keys because what they covered goes."""

import sqlalchemy as sa

from inference.store import auditing
from inference.store.database import Database
from inference.store.epochs import next_epoch
from inference.store.tables import api_keys


def revoke(db: Database, connection: sa.Connection, tenant_id: str, which: sa.ColumnElement[bool]) -> None:
    """Those of the tenant's keys that open something open nothing any more; each is a record of its own.

    In the transaction of the act that they go with, after all else, because it writes to the audit record.
    """
    live = (api_keys.c.tenant_id == tenant_id) & which & api_keys.c.revoked_at.is_(None)
    if connection.execute(sa.select(api_keys.c.id).where(live).limit(1)).first() is None:
        return
    now: sa.ColumnElement[float] = sa.literal_column(db.clock, sa.Double())
    change = sa.update(api_keys).where(live).values(revoked_at=now, epoch=next_epoch(connection))
    for row in connection.execute(change.returning(api_keys.c.id, api_keys.c.revoked_at)).all():
        auditing.note(
            db,
            connection,
            action="key.revoke",
            kind="key",
            object_id=row.id,
            tenant_id=tenant_id,
            before={"revoked_at": None},
            after={"revoked_at": row.revoked_at},
        )
