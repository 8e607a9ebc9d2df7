"""Hosts that can run workers, known by their heartbeat."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from inference.resources.model import Device
from inference.serving.model import Node
from inference.store import devices as device_rows
from inference.store.database import Database
from inference.store.tables import nodes
from inference.store.upsert import insert_or_replace


class SqlNodes:
    """The `NodeStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())
        value = "value" if database.is_sqlite else "value::text"
        entries = f"json_each({':usage' if database.is_sqlite else 'CAST(:usage AS json)'})"
        self._use = sa.text(
            f"UPDATE replicas SET usage = (SELECT {value} FROM {entries} WHERE key = replicas.id) WHERE node_id = :node"
        )

    def beat(
        self,
        node_id: str,
        *,
        host: str,
        inventory: Mapping[str, Any],
        devices: Sequence[Device] | None = None,
        usage: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """One transaction, and one statement for each of node, devices and usage."""
        values = {"id": node_id, "host": host, "inventory": json.dumps(inventory), "heartbeat_at": self._clock}

        def write() -> None:
            with self._db.write() as connection:
                connection.execute(insert_or_replace(self._db, nodes, values, key=("id",)))
                if devices is not None:
                    device_rows.write(self._db, connection, node_id, devices)
                if usage is not None:
                    connection.execute(self._use, {"node": node_id, "usage": json.dumps(usage)})

        self._db.again(write)

    def leave(self, node_id: str) -> None:
        with self._db.write() as connection:
            device_rows.forget(connection, node_id)
            connection.execute(sa.delete(nodes).where(nodes.c.id == node_id))

    def list(self, *, silence_s: float) -> "list[Node]":
        """Every node ever heard, by id."""
        query = sa.text(
            f"SELECT id, host, inventory, heartbeat_at, heartbeat_at > {self._db.clock} - :silence AS is_alive "
            "FROM nodes ORDER BY id"
        )
        with self._db.read() as connection:
            return [
                Node(
                    id=row.id,
                    host=row.host,
                    inventory=json.loads(row.inventory),
                    heartbeat_at=row.heartbeat_at,
                    is_alive=bool(row.is_alive),
                )
                for row in connection.execute(query, {"silence": float(silence_s)})
            ]
