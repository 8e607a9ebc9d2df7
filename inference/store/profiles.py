"""Batch curves, one per model and kind of device."""

import json
from typing import Any

import sqlalchemy as sa

from inference.serving.model import Profile
from inference.store.database import Database
from inference.store.tables import profiles
from inference.store.upsert import insert_or_replace


class SqlProfiles:
    """The `ProfileStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, model_id: str, device_kind: str) -> Profile | None:
        rows = self._read((profiles.c.model_id == model_id) & (profiles.c.device_kind == device_kind))
        return next(iter(rows), None)

    def of_model(self, model_id: str) -> "list[Profile]":
        """By kind of device."""
        return self._read(profiles.c.model_id == model_id)

    def put(self, profile: Profile) -> None:
        """The last measurement counts."""
        values = {
            "model_id": profile.model_id,
            "device_kind": profile.device_kind,
            "provider": profile.provider,
            "max_batch": profile.max_batch,
            "curve": json.dumps(profile.curve),
            "measured_at": profile.measured_at,
            "memory_bytes": profile.memory_bytes,
            "memory_basis": profile.memory_basis,
        }
        with self._db.write() as connection:
            connection.execute(insert_or_replace(self._db, profiles, values, key=("model_id", "device_kind")))

    def _read(self, where: "sa.ColumnElement[bool]") -> "list[Profile]":
        with self._db.read() as connection:
            rows = connection.execute(sa.select(profiles).where(where).order_by(profiles.c.device_kind))
            return [_profile(row) for row in rows]


def _profile(row: "sa.Row[Any]") -> Profile:
    curve = tuple((int(size), float(median), float(p99)) for size, median, p99 in json.loads(row.curve))
    return Profile(**{**row._mapping, "curve": curve})
