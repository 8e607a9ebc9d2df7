"""Writes the audit record, in the transaction of the change that it tells of."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inference.access import acting, chain
from inference.access.difference import difference, safe_text
from inference.access.model import Actor, AuditRecord
from inference.store.database import Database
from inference.store.tables import audit

_APPEND = sa.insert(audit)
_MOVE_HEAD = sa.text("UPDATE audit_head SET seq = :seq, hash = :hash WHERE id = 1")


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

    `before` and `after` must hold no payload, and no secret but under a name that says so. Only what differs between
    them is kept, and when nothing differs, nothing is written. Call it last: it locks the end of the chain for all
    other writers until the transaction ends.
    """
    actor = acting.current()
    if actor is None:
        return
    old, new = difference(before, after)
    if not old and not new and before is not None and after is not None:
        return
    head = connection.execute(_lock_head(db.clock, is_sqlite=db.is_sqlite)).one()
    record = AuditRecord(
        seq=head.seq + 1,
        at=head.now,
        tenant_id=tenant_id,
        **_who(actor),
        action=action,
        object_kind=kind,
        object_id=object_id,
        before=old,
        after=new,
        previous_hash=head.hash,
    )
    record = dataclasses.replace(record, hash=chain.digest(record))
    connection.execute(_APPEND, _row(record))
    connection.execute(_MOVE_HEAD, {"seq": record.seq, "hash": record.hash})


@functools.cache
def _lock_head(clock: str, *, is_sqlite: bool) -> sa.TextClause:
    """SQLite's writer is alone."""
    lock = "" if is_sqlite else " FOR UPDATE"
    return sa.text(f"SELECT seq, hash, {clock} AS now FROM audit_head WHERE id = 1{lock}")


def _who(actor: Actor) -> dict[str, str]:
    return {
        "actor_kind": actor.kind,
        "actor_id": safe_text(actor.id),
        "actor_name": safe_text(actor.name),
        "address": safe_text(actor.address),
        "operation": safe_text(actor.operation),
    }


def _row(record: AuditRecord) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {**values, "before": chain.canonical(record.before), "after": chain.canonical(record.after)}
