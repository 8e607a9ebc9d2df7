"""Hosts that can run workers, known by their heartbeat."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from inference.serving.model import Node
from inference.store.database import Database
from inference.store.tables import nodes
from inference.store.upsert import insert_or_replace


class SqlNodes:
    """The `NodeStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())

    def beat(self, node_id: str, *, host: str, inventory: Mapping[str, Any]) -> None:
        """One statement, whether the node is new or known."""
        values = {"id": node_id, "host": host, "inventory": json.dumps(inventory), "heartbeat_at": self._clock}
        with self._db.write() as connection:
            connection.execute(insert_or_replace(self._db, nodes, values, key=("id",)))

    def leave(self, node_id: str) -> None:
        with self._db.write() as connection:
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
