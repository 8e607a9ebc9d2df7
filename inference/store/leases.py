"""Lease rows. Whoever changes what is held on a node locks the node's row first: so they take turns, in one order."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from inference.resources.fit import Room, Size
from inference.resources.leases import Ask, Lease, LeaseState, extended, grant, room_of
from inference.serving.model import Desired, Observed
from inference.store.database import Database
from inference.store.tables import leases, nodes, replicas
from inference.store.unchanged import Unchanged
from inference.store.upsert import insert_new

_READ = f"SELECT {', '.join(column.name for column in leases.columns)} FROM leases"
_PARTS = ("card_bytes", "cpu_milli", "memory_bytes")


class SqlLeases:
    """The `LeaseStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._seen = Unchanged(_lease)

    def all(self) -> "list[Lease]":
        """By node, then replica."""
        with self._db.read() as connection:
            return self._seen.of(connection.execute(sa.text(f"{_READ} ORDER BY node_id, replica_id")))

    def now(self) -> float:
        with self._db.read() as connection:
            return self._db.now_s(connection)

    def orphans(self, node_id: str) -> "list[Lease]":
        """Those of a node whose replica row is gone."""
        where = "WHERE node_id = :node AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = leases.replica_id)"
        with self._db.read() as connection:
            return _rows(connection, where, {"node": node_id})

    def release_orphan(self, replica_id: str) -> bool:
        """False when there is a replica row after all, or no lease."""
        has_row = sa.select(replicas.c.id).where(replicas.c.id == replica_id)

        def work() -> bool:
            with self._db.write() as connection:
                _lock_node_of(connection, replica_id)
                if connection.execute(has_row).first() is not None:
                    return False
                return release(connection, replica_id)

        return self._db.again(work)

    def adopt(self, ask: Ask) -> None:
        """A lease for a replica that runs without one, from before there were leases: nobody is asked for room."""
        with self._db.write() as connection:
            insert_new(connection, self._db, leases, _values(self._db, ask, held=ask.size))


def reserve(db: Database, connection: sa.Connection, ask: Ask) -> Size | None:
    """What the asker may hold, if there is room for it; nobody changes that before this transaction ends."""
    found = _of_node(connection, ask.node_id)
    return None if found is None else grant(*found, ask)


def extend(connection: sa.Connection, replica_id: str, *, node_id: str, card_bytes: int) -> bool:
    """That much of its card for the replica at least, if nobody else holds it; nobody takes it before this ends."""
    found = _of_node(connection, node_id)
    lease = None if found is None else extended(*found, replica_id, card_bytes=card_bytes)
    if lease is None:
        return False
    sizes = {"card_bytes": lease.held.card_bytes, "wanted_card_bytes": lease.wanted.card_bytes}
    connection.execute(sa.update(leases).where(leases.c.replica_id == replica_id).values(sizes))
    return True


def _of_node(connection: sa.Connection, node_id: str) -> "tuple[Room, list[Lease]] | None":
    """What it has and who holds it, under its lock."""
    mine = sa.select(nodes.c.id, nodes.c.inventory).where(nodes.c.id == node_id).with_for_update()
    if (row := connection.execute(mine).one_or_none()) is None:
        return None
    here = _rows(connection, "WHERE node_id = :node", {"node": node_id})
    return room_of(row.id, json.loads(row.inventory)), here


def write(db: Database, connection: sa.Connection, ask: Ask, *, held: Size) -> None:
    """The row of the lease; its victims are to stop, and leave what they hold to it."""
    connection.execute(sa.insert(leases).values(_values(db, ask, held=held)))
    if ask.victims:
        leaving = replicas.c.id.in_(ask.victims)
        connection.execute(sa.update(replicas).where(leaving).values(desired=Desired.STOPPED.value))
        connection.execute(sa.update(leases).where(leases.c.replica_id.in_(ask.victims)).values(for_id=ask.replica_id))


def _values(db: Database, ask: Ask, *, held: Size) -> dict[str, Any]:
    return {
        "replica_id": ask.replica_id,
        "service_id": ask.service_id,
        "node_id": ask.node_id,
        "device": ask.device,
        "state": LeaseState.RESERVED.value,
        "is_whole": ask.size.is_whole,
        "reserved_at": sa.literal_column(db.clock, sa.Double()),
        **{part: getattr(held, part) for part in _PARTS},
        **{f"wanted_{part}": getattr(ask.size, part) for part in _PARTS},
    }


def release(connection: sa.Connection, replica_id: str) -> bool:
    """The lease ends, and whoever it made room for takes over what it held, as far as that one wants it."""
    _lock_node_of(connection, replica_id)
    row = connection.execute(sa.delete(leases).where(leases.c.replica_id == replica_id).returning(leases)).one_or_none()
    if row is None:
        return False
    if row.for_id is not None:
        grown = {
            part: _least(leases.c[f"wanted_{part}"], leases.c[part] + getattr(row, part))
            for part in _PARTS
            if part != "card_bytes"
        }
        is_mate = leases.c.device == row.device
        card = _least(leases.c.wanted_card_bytes, leases.c.card_bytes + row.card_bytes)
        grown["card_bytes"] = sa.case((is_mate, card), else_=leases.c.card_bytes)
        connection.execute(sa.update(leases).where(leases.c.replica_id == row.for_id).values(grown))
    return True


def note(
    db: Database, connection: sa.Connection, replica_id: str, observed: Observed, owner: "tuple[int, int] | None"
) -> None:
    """What a report on the replica means for its lease."""
    clock: sa.ColumnElement[float] = sa.literal_column(db.clock, sa.Double())
    change = sa.update(leases).where(leases.c.replica_id == replica_id)
    if owner is not None:
        connection.execute(change.values(owner_pid=owner[0], owner_started=owner[1]))
    if observed is Observed.READY:
        is_new = leases.c.state == LeaseState.RESERVED.value
        connection.execute(change.where(is_new).values(state=LeaseState.ALLOCATED.value, allocated_at=clock))
    elif observed is Observed.STOPPED:
        is_first = leases.c.state != LeaseState.UNLOADING.value
        connection.execute(change.where(is_first).values(state=LeaseState.UNLOADING.value, unloading_at=clock))


def waits_for_others(replica_id: str) -> sa.ColumnElement[bool]:
    """Condition: somebody who was put out for this replica is not gone yet."""
    return sa.exists().where(leases.c.for_id == replica_id)


def _lock_node_of(connection: sa.Connection, replica_id: str) -> None:
    mine = sa.select(leases.c.node_id).where(leases.c.replica_id == replica_id).scalar_subquery()
    connection.execute(sa.select(nodes.c.id).where(nodes.c.id == mine).with_for_update())


def _least(one: sa.ColumnElement[int], other: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.case((one < other, one), else_=other)


def _rows(connection: sa.Connection, rest: str, bound: "dict[str, str]") -> "list[Lease]":
    found: Sequence[sa.Row[Any]] = connection.execute(sa.text(f"{_READ} {rest}"), bound).all()
    return [_lease(row) for row in found]


def _lease(row: "sa.Row[Any]") -> Lease:
    is_whole = bool(row.is_whole)
    return Lease(
        replica_id=row.replica_id,
        service_id=row.service_id,
        node_id=row.node_id,
        device=row.device,
        state=LeaseState(row.state),
        held=Size(card_bytes=row.card_bytes, cpu_milli=row.cpu_milli, memory_bytes=row.memory_bytes, is_whole=is_whole),
        wanted=Size(
            card_bytes=row.wanted_card_bytes,
            cpu_milli=row.wanted_cpu_milli,
            memory_bytes=row.wanted_memory_bytes,
            is_whole=is_whole,
        ),
        for_id=row.for_id,
        reserved_at=row.reserved_at,
        allocated_at=row.allocated_at,
        unloading_at=row.unloading_at,
        owner_pid=row.owner_pid,
        owner_started=row.owner_started,
    )
