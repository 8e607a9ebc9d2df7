"""Brings a database to the newest schema, or back; `python -m inference.store.migrate` does it by hand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from inference import entry
from inference.settings import load
from inference.store.database import Database
from inference.store.tables import metadata

FULL_TEXT, WORDS_INDEX = "log_words", "ix_log_entries_words"


def upgrade(database: Database, revision: str = "head") -> None:
    """Runs what is missing, one process at a time. Harmless when nothing is."""
    with _connection(database) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str = "base") -> None:
    """Takes migrations back; what the newer schema alone could hold is lost."""
    with _connection(database) as connection:
        command.downgrade(_config(connection), revision)


def draft(database: Database, message: str) -> None:
    """Writes a new migration from what the tables have and the database has not. For developers."""
    with _connection(database) as connection:
        command.revision(_config(connection), message=message, autogenerate=True)


def differences(database: Database) -> list[Any]:
    """What autogenerate would still change; empty when migrations and tables agree."""
    with database.read() as connection:
        found: list[Any] = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True, "include_name": is_known}), metadata
        )
        return found


def is_known(name: str | None, kind: str, _parents: object) -> bool:
    """Whether autogenerate shall look at it: the index of words of a log is of another kind on each database."""
    return name != WORDS_INDEX and not (kind == "table" and (name or "").startswith(FULL_TEXT))


def newest() -> str | None:
    """The revision that `upgrade` leads to."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connection(database: Database) -> Iterator[Connection]:
    """A write turn; on PostgreSQL with an advisory lock, so that two starters do not collide."""
    with database.write() as connection, database.unhurried(connection):
        if not database.is_sqlite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7340033)")
        yield connection


def main() -> int:
    settings = load(os.environ)
    database = Database(settings.database_url, settings.store)
    try:
        upgrade(database)
    finally:
        database.close()
    return 0


if __name__ == "__main__":
    entry.run(main)
