"""Replica rows. What agents and workers report is fenced by the generation of the replica."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inference.resources.leases import Ask
from inference.serving.model import Desired, Observed, Replica
from inference.store import leases
from inference.store.database import Database
from inference.store.tables import instances, replicas
from inference.store.unchanged import Unchanged
from inference.store.upsert import insert_new

_LEAVING = (Observed.DRAINING.value, Observed.STOPPED.value, Observed.FAILED.value)
_COLUMNS = ", ".join(column.name for column in replicas.columns)
_ALIVE = (Observed.STARTING, Observed.READY)


class SqlReplicas:
    """The `ReplicaStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())
        self._seen = Unchanged(replica_of)

    def all(self) -> "list[Replica]":
        """By service, then ordinal."""
        query = sa.text(f"SELECT {_COLUMNS} FROM replicas ORDER BY service_id, ordinal")
        with self._db.read() as connection:
            return self._seen.of(connection.execute(query))

    def of_service(self, service_id: str) -> "list[Replica]":
        return self._read("WHERE service_id = :id", {"id": service_id})

    def of_node(self, node_id: str) -> "list[Replica]":
        return self._read("WHERE node_id = :id", {"id": node_id})

    def get(self, replica_id: str) -> Replica | None:
        return next(iter(self._read("WHERE id = :id", {"id": replica_id})), None)

    def insert(self, replica: Replica, ask: Ask | None = None) -> bool:
        """Two reconcilers may want the same ordinal at once: the first row stays, the second is left out."""
        values = {column.name: getattr(replica, column.name) for column in replicas.columns}
        values |= {"desired": replica.desired.value, "observed": replica.observed.value, "reported_at": self._clock}
        values["usage"] = None

        def work() -> bool:
            with self._db.write() as connection:
                held = None if ask is None else leases.reserve(self._db, connection, ask)
                if (ask is not None and held is None) or not insert_new(connection, self._db, replicas, values):
                    return False
                if ask is not None and held is not None:
                    leases.write(self._db, connection, ask, held=held)
                return True

        return self._db.again(work)

    def set_desired(self, replica_id: str, desired: Desired) -> None:
        with self._db.write() as connection:
            connection.execute(sa.update(replicas).where(replicas.c.id == replica_id).values(desired=desired.value))

    def set_instances(self, replica_id: str, instances: int, *, card_bytes: int = 0) -> bool:
        mine = replicas.c.id == replica_id

        def work() -> bool:
            with self._db.write() as connection:
                if card_bytes:
                    node_id = connection.execute(sa.select(replicas.c.node_id).where(mine)).scalar_one_or_none()
                    if not leases.extend(connection, replica_id, node_id=str(node_id), card_bytes=card_bytes):
                        return False
                return connection.execute(sa.update(replicas).where(mine).values(instances=instances)).rowcount == 1

        return self._db.again(work)

    def delete(self, replica_id: str) -> None:
        """The row, its lease and its instances: jobs that they still held come back with the next reaping."""

        def work() -> None:
            with self._db.write() as connection:
                leases.release(connection, replica_id)
                connection.execute(sa.delete(instances).where(instances.c.replica_id == replica_id))
                connection.execute(sa.delete(replicas).where(replicas.c.id == replica_id))

        self._db.again(work)

    def begin(self, replica_id: str) -> int:
        """0 when the replica is no longer there or meant to run, or others still leave to make room for it."""
        is_due = (replicas.c.desired == Desired.RUNNING.value) & ~leases.waits_for_others(replica_id)
        change = (
            sa.update(replicas)
            .where(replicas.c.id == replica_id, is_due)
            .values(
                generation=replicas.c.generation + 1,
                observed=Observed.STARTING.value,
                instances_ready=0,
                pid=None,
                reported_at=self._clock,
                began_at=self._clock,
                ready_at=None,
                busy_at=None,
            )
            .returning(replicas.c.generation)
        )
        with self._db.write() as connection:
            return int(connection.execute(change).scalar_one_or_none() or 0)

    def report(
        self,
        replica_id: str,
        generation: int,
        *,
        observed: Observed,
        instances_ready: int | None = None,
        pid: int | None = None,
        reason: str | None = None,
        restarted: bool = False,
        idle_s: float | None = None,
        owner: tuple[int, int] | None = None,
    ) -> bool:
        """`starting` and `ready` do not overwrite `draining`, `stopped` or `failed` of the same generation."""
        values: dict[str, Any] = {"observed": observed.value, "reported_at": self._clock}
        if observed in _ALIVE:
            is_leaving = replicas.c.observed.in_(_LEAVING)
            values["observed"] = sa.case((is_leaving, replicas.c.observed), else_=observed.value)
        if observed is Observed.READY:
            values |= {"load_failures": 0, "reason": reason}
            values["ready_at"] = sa.func.coalesce(replicas.c.ready_at, self._clock)
        elif reason is not None:
            values["reason"] = reason
        if observed in (Observed.PENDING, Observed.STOPPED, Observed.FAILED):
            values |= {"pid": None, "instances_ready": 0}
        if instances_ready is not None:
            values["instances_ready"] = instances_ready
        if pid is not None:
            values["pid"] = pid
        if idle_s is not None:
            values["busy_at"] = self._clock - idle_s
        if restarted:
            values["restarts"] = replicas.c.restarts + 1
        with self._db.write() as connection:
            is_current = connection.execute(self._fenced(replica_id, generation).values(values)).rowcount == 1
            if is_current:
                leases.note(self._db, connection, replica_id, observed, owner)
            return is_current

    def note_load_failure(self, replica_id: str, generation: int, *, reason: str) -> int:
        """0 when the generation is over."""
        change = self._fenced(replica_id, generation).values(
            load_failures=replicas.c.load_failures + 1, reason=reason, reported_at=self._clock
        )
        with self._db.write() as connection:
            return int(connection.execute(change.returning(replicas.c.load_failures)).scalar_one_or_none() or 0)

    def _fenced(self, replica_id: str, generation: int) -> sa.Update:
        return sa.update(replicas).where(replicas.c.id == replica_id, replicas.c.generation == generation)

    def _read(self, where: str, bound: "dict[str, str]") -> "list[Replica]":
        """Plain text: the agent of every node reads its rows four times a second."""
        query = sa.text(f"SELECT {_COLUMNS} FROM replicas {where} ORDER BY service_id, ordinal")
        with self._db.read() as connection:
            return [replica_of(row) for row in connection.execute(query, bound)]


def replica_of(row: "sa.Row[Any]") -> Replica:
    """A row of the whole table."""
    usage: Mapping[str, Any] = json.loads(row.usage) if row.usage else {}
    told = {"desired": Desired(row.desired), "observed": Observed(row.observed), "usage": usage}
    return Replica(**{**row._mapping, **told})
