"""Periodic duties: who does one is settled by a compare-and-set on its row."""

import sqlalchemy as sa

from inference.store.database import Database
from inference.store.tables import ticks
from inference.store.upsert import insert_new


class SqlTicks:
    """The `TickStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())

    def take(self, name: str, *, every_s: float, by: str) -> bool:
        """Costs one read when the duty is not due. A clock that was set back makes it due."""
        ago = self._clock - ticks.c.taken_at
        is_due = sa.or_(ago >= every_s, ago < -every_s)
        with self._db.read() as connection:
            due = connection.execute(sa.select(is_due).where(ticks.c.name == name)).scalar_one_or_none()
        if due is not None and not due:
            return False
        change = sa.update(ticks).where(ticks.c.name == name, is_due)
        with self._db.write() as connection:
            if due is None:
                first = {"name": name, "taken_at": self._clock, "taken_by": by, "count": 1}
                return insert_new(connection, self._db, ticks, first)
            taken = change.values(taken_at=self._clock, taken_by=by, count=ticks.c.count + 1)
            return connection.execute(taken).rowcount == 1

    def age_s(self, name: str) -> float | None:
        query = sa.select(self._clock - ticks.c.taken_at).where(ticks.c.name == name)
        with self._db.read() as connection:
            age = connection.execute(query).scalar_one_or_none()
        return None if age is None else float(age)
