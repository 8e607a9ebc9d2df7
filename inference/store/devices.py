"""Devices of the nodes, as the last heartbeat of each told them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from inference.resources.inventory import read_figures, write_figures
from inference.resources.model import Device, DeviceState, SeenDevice, Source
from inference.store.database import Database
from inference.store.tables import devices, nodes
from inference.store.upsert import insert_or_replace_all

_OF_DEVICE = ("index", "uuid", "name", "memory_bytes", "parent_uuid")


def write(database: Database, connection: sa.Connection, node_id: str, found: Sequence[Device]) -> None:
    """Inside the transaction of the heartbeat. A device of this node that is not among `found` is gone from now on."""
    if found:
        clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())
        rows = [_values(node_id, device) | {"reported_at": clock} for device in found]
        connection.execute(insert_or_replace_all(database, devices, rows, key=("node_id", "uuid")))
    is_missing = devices.c.uuid.not_in([device.uuid for device in found])
    connection.execute(
        sa.update(devices)
        .where(devices.c.node_id == node_id, devices.c.state != DeviceState.GONE.value, is_missing)
        .values(state=DeviceState.GONE.value, figures="{}")
    )


def forget(connection: sa.Connection, node_id: str) -> None:
    """The node signs off, and its devices with it."""
    connection.execute(sa.delete(devices).where(devices.c.node_id == node_id))


class SqlDevices:
    """The `DeviceStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def list(self, *, silence_s: float, node_id: str | None = None) -> "list[SeenDevice]":
        """By node, then as the node lists them: by index, the parts of a card after it."""
        clock: sa.ColumnElement[float] = sa.literal_column(self._db.clock, sa.Double())
        is_alive = (nodes.c.heartbeat_at > clock - silence_s).label("is_alive")
        query = sa.select(devices, is_alive).join_from(devices, nodes, nodes.c.id == devices.c.node_id, isouter=True)
        if node_id is not None:
            query = query.where(devices.c.node_id == node_id)
        with self._db.read() as connection:
            found = [_seen(row) for row in connection.execute(query)]
        return _in_order(found)


def _values(node_id: str, device: Device) -> dict[str, Any]:
    return {
        "node_id": node_id,
        **{name: getattr(device, name) for name in _OF_DEVICE},
        "source": device.source.value,
        "state": device.state.value,
        "figures": write_figures(device.figures),
    }


def _seen(row: "sa.Row[Any]") -> SeenDevice:
    told = row._mapping
    device = Device(
        **{name: told[name] for name in _OF_DEVICE},
        source=Source(told["source"]),
        state=DeviceState(told["state"]),
        figures=read_figures(told["figures"]),
    )
    return SeenDevice(
        node_id=told["node_id"],
        device=device,
        reported_at=told["reported_at"],
        is_alive=bool(told["is_alive"]),
    )


def _in_order(found: list[SeenDevice]) -> list[SeenDevice]:
    cards = {(seen.node_id, seen.device.uuid): seen.device.index for seen in found}

    def place(seen: SeenDevice) -> tuple[str, int, str, bool, int]:
        device = seen.device
        card = device.parent_uuid or device.uuid
        index = cards.get((seen.node_id, card), device.index)
        return seen.node_id, index, card, device.parent_uuid is not None, device.index

    return sorted(found, key=place)
