"""Migrations: up from nothing, nothing left for autogenerate, down to nothing, and up again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from inference.errors import StoreUnavailable
from inference.settings import StoreSettings
from inference.store import migrate, schema, tables
from inference.store.database import Database
from tests.conftest import KINDS, own_database


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a single table."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/empty.db", StoreSettings())
        yield opened
        opened.close()
        return
    with own_database(request.getfixturevalue("postgres_url")) as url:
        opened = Database(url, StoreSettings())
        yield opened
        opened.close()


def names(database: Database) -> set[str]:
    return {name for name in sa.inspect(database.engine).get_table_names() if migrate.is_known(name, "table", {})}


def test_upgrade_makes_what_the_tables_say(empty: Database):
    before = names(empty)

    migrate.upgrade(empty)

    assert before == set()
    assert names(empty) == set(tables.metadata.tables) | {"alembic_version"}
    assert migrate.differences(empty) == []
    assert schema.is_current(empty)


def test_every_index_has_the_condition_that_the_tables_give_it(empty: Database):
    """Autogenerate does not compare the WHERE of a partial index, and the claim lives by it."""
    migrate.upgrade(empty)

    wanted = {name for table in tables.metadata.tables.values() for name in partial(table)}

    assert {"ix_jobs_pending", "ix_jobs_running"} <= wanted
    assert partial_indexes(empty) == wanted


def partial(table: sa.Table) -> set[str]:
    return {str(index.name) for index in table.indexes if index.dialect_kwargs.get("sqlite_where") is not None}


def partial_indexes(database: Database) -> set[str]:
    statement = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if database.is_sqlite
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    )
    with database.read() as connection:
        return {name for name, definition in connection.exec_driver_sql(statement) if " WHERE " in definition}


def test_a_migrated_database_and_a_created_one_hold_the_same_columns(empty: Database):
    migrate.upgrade(empty)
    migrated = columns(empty)
    migrate.downgrade(empty)
    tables.metadata.create_all(empty.engine)

    assert columns(empty) == migrated


def columns(database: Database) -> dict[str, list[tuple[str, str, bool, str | None]]]:
    inspector = sa.inspect(database.engine)
    return {
        table: sorted(
            (column["name"], str(column["type"]), column["nullable"], column["default"])
            for column in inspector.get_columns(table)
        )
        for table in tables.metadata.tables
    }


def test_down_to_nothing_and_up_again(empty: Database):
    migrate.upgrade(empty)

    migrate.downgrade(empty)
    below = names(empty)
    migrate.upgrade(empty)

    assert below <= {"alembic_version"}
    assert migrate.differences(empty) == []


def test_upgrading_twice_changes_nothing_and_keeps_rows(empty: Database):
    migrate.upgrade(empty)
    with empty.write() as connection:
        connection.execute(tables.tenants.insert(), {"id": "t", "name": "t", "created_at": 0.0})

    migrate.upgrade(empty)

    with empty.read() as connection:
        assert "t" in connection.execute(sa.select(tables.tenants.c.id)).scalars().all()


def test_a_process_refuses_an_old_schema_and_says_what_to_do(empty: Database):
    with pytest.raises(StoreUnavailable, match="penstock migrate"):
        schema.require_current(empty)

    migrate.upgrade(empty)
    schema.require_current(empty)


def test_a_column_that_no_migration_makes_is_noticed(empty: Database):
    migrate.upgrade(empty)
    with empty.write() as connection:
        connection.exec_driver_sql("ALTER TABLE tenants DROP COLUMN name")

    assert migrate.differences(empty) != []


def test_the_revision_that_the_code_asks_for_is_the_newest_migration():
    assert migrate.newest() == schema.REVISION
