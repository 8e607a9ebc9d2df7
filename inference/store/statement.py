"""A statement of the hot path: compiled once, and given straight to the driver."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from inference.store.database import Database


class Statement:
    """SQL with parameters `:name`, at a fifth of what `connection.execute(sa.text(...))` costs besides the database.

    Part of the connection's transaction, as any other; its errors are SQLAlchemy's, too.
    """

    def __init__(self, db: Database, text: str) -> None:
        compiled = sa.text(text).compile(dialect=db.engine.dialect)
        self._sql = compiled.string
        self._order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        self._errors = db.engine.dialect.loaded_dbapi.Error

    def rows(self, connection: sa.Connection, bound: Mapping[str, Any]) -> Sequence[Any]:
        """All that it answers, which must be rows, as tuples. `bound` may hold more than it needs on SQLite only."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._sql, self._bind(bound))
            return cursor.fetchall()
        except self._errors as error:
            raise self._told(connection, cursor, error) from error
        finally:
            cursor.close()

    def run(self, connection: sa.Connection, bound: Mapping[str, Any]) -> None:
        """For what answers nothing."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._sql, self._bind(bound))
        except self._errors as error:
            raise self._told(connection, cursor, error) from error
        finally:
            cursor.close()

    def run_each(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """For what answers nothing, once for each of `rows`, its parameters being `?`: for SQLite."""
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(self._sql, rows)
        except self._errors as error:
            raise self._told(connection, cursor, error) from error
        finally:
            cursor.close()

    def _bind(self, bound: Mapping[str, Any]) -> Any:
        return bound if self._order is None else tuple([bound[name] for name in self._order])

    def _told(self, connection: sa.Connection, cursor: Any, error: Exception) -> BaseException:
        """The error as `connection.execute` would raise it; the pool forgets a connection that is lost."""
        dialect = connection.dialect
        is_lost = bool(dialect.is_disconnect(error, connection.connection, cursor))  # type: ignore[arg-type]  # an Error
        if is_lost:
            connection.invalidate(error)
        return exc.DBAPIError.instance(
            self._sql,
            None,
            error,
            self._errors,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=dialect,
        )
