"""The one connection by which a process writes to SQLite: kept open, since a job alone has three transactions."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import exc


class SqliteWriter:
    """Belongs to whoever has the turn of the write gate. Survives a fork: the child opens a connection of its own."""

    def __init__(self, engine: sa.Engine, *, synchronous: str) -> None:
        self._engine = engine
        self._synchronous = synchronous
        self._connection: sa.Connection | None = None
        self._pid = 0

    @contextmanager
    def transaction(self, *, is_urgent: bool) -> Iterator[sa.Connection]:
        """See `Database.write`. Raises what SQLAlchemy raises."""
        connection = self._opened()
        try:
            if is_urgent:
                _say(connection, "PRAGMA synchronous=NORMAL")
            _say(connection, "BEGIN IMMEDIATE")
            yield connection
            if connection.in_transaction():
                connection.commit()
            elif _raw(connection).in_transaction:
                _say(connection, "COMMIT")
        except BaseException:
            self._undo(connection)
            raise
        finally:
            if is_urgent and self._connection is not None:
                _say(connection, f"PRAGMA synchronous={self._synchronous}")

    def close(self) -> None:
        """Call when nobody writes."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None

    def _opened(self) -> sa.Connection:
        if self._connection is None or self._pid != os.getpid():
            self._connection, self._pid = self._engine.connect(), os.getpid()
        return self._connection

    def _undo(self, connection: sa.Connection) -> None:
        """Rolls back; a connection on which that fails is not used again."""
        try:
            connection.rollback()
            if _raw(connection).in_transaction:
                _raw(connection).execute("ROLLBACK")
        except (exc.SQLAlchemyError, sqlite3.Error):
            self._connection = None
            connection.invalidate()
            connection.close()


def _raw(connection: sa.Connection) -> sqlite3.Connection:
    raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]  # by its URL
    return raw


def _say(connection: sa.Connection, text: str) -> None:
    """At a fifth of `exec_driver_sql`'s price; its errors are SQLAlchemy's, too."""
    try:
        _raw(connection).execute(text)
    except sqlite3.Error as error:
        raise exc.DBAPIError.instance(
            text, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
        ) from error
