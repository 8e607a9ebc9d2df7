"""INSERT that yields to an existing row, or replaces it, in the form of either database."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from inference.store.database import Database


def insert_new(connection: sa.Connection, database: Database, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Inserts unless any unique key is taken; whether it did."""
    statement = _insert(database, table).values(**values).on_conflict_do_nothing()
    # The rowcount of an INSERT is not told on PostgreSQL.
    return connection.execute(statement.returning(sa.literal(1))).first() is not None


def insert_or_replace(
    database: Database, table: sa.Table, values: Mapping[str, Any], *, key: Sequence[str]
) -> sa.Insert:
    """Inserts, or writes every column outside `key` over the row that has this key."""
    return _replacing(_insert(database, table).values(**values), values, key)


def insert_or_replace_all(
    database: Database, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str]
) -> sa.Insert:
    """As `insert_or_replace`, for several rows of the same columns at once; at least one."""
    return _replacing(_insert(database, table).values([dict(row) for row in rows]), rows[0], key)


def _replacing(
    statement: "postgresql.Insert | sqlite.Insert", names: Iterable[str], key: Sequence[str]
) -> "postgresql.Insert | sqlite.Insert":
    changed = {name: statement.excluded[name] for name in names if name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed)


def _insert(database: Database, table: sa.Table) -> "postgresql.Insert | sqlite.Insert":
    return sqlite.insert(table) if database.is_sqlite else postgresql.insert(table)
