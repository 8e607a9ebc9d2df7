"""Periodic duties: who does one is settled by a compare-and-set on its row."""

import sqlalchemy as sa

from inference.store.database import Database


class SqlTicks:
    """The `TickStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        clock, ago = database.clock, f"({database.clock} - taken_at)"
        # Plain text: these run every second of an idle system.
        self._take = sa.text(
            f"UPDATE ticks SET taken_at = {clock}, taken_by = :by, count = count + 1 "
            f"WHERE name = :name AND ({ago} >= :every OR {ago} < -:every) RETURNING name"
        )
        self._hold = sa.text(
            f"UPDATE ticks SET taken_at = {clock}, taken_by = :by, count = count + 1 "
            f"WHERE name = :name AND (taken_by = :by OR {ago} >= :for_s OR {ago} < -:for_s) RETURNING name"
        )
        self._begin = sa.text(
            f"INSERT INTO ticks (name, taken_at, taken_by, count) VALUES (:name, {clock}, :by, 1) "
            "ON CONFLICT DO NOTHING RETURNING name"
        )
        self._age = sa.text(f"SELECT {ago} FROM ticks WHERE name = :name")

    def take(self, name: str, *, every_s: float, by: str) -> bool:
        """A clock that was set back makes a duty due."""
        bound = {"name": name, "by": by}
        with self._db.write() as connection:
            if connection.execute(self._take, bound | {"every": float(every_s)}).first() is not None:
                return True
            return connection.execute(self._begin, bound).first() is not None

    def hold(self, name: str, *, by: str, for_s: float) -> bool:
        """Whether the duty is `by`'s: it was already, or nobody has renewed it for so long. Renews it."""
        bound = {"name": name, "by": by}
        with self._db.write() as connection:
            if connection.execute(self._hold, bound | {"for_s": float(for_s)}).first() is not None:
                return True
            return connection.execute(self._begin, bound).first() is not None

    def age_s(self, name: str) -> float | None:
        with self._db.read() as connection:
            age = connection.execute(self._age, {"name": name}).scalar_one_or_none()
        return None if age is None else float(age)
