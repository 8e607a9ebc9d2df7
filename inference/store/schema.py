"""Which schema this code needs, and whether the database has it; without loading the migration tool."""

import sqlalchemy as sa

from inference.errors import StoreUnavailable
from inference.store.database import Database

REVISION = "0014"
"""The newest migration. A test holds it against the files in migrations/."""


def is_current(database: Database) -> bool:
    """Whether the database has exactly this schema."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return False
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    return list(found) == [REVISION]


def is_empty(database: Database) -> bool:
    """Whether the database was never migrated."""
    with database.read() as connection:
        return not sa.inspect(connection).has_table("alembic_version")


def require_current(database: Database) -> None:
    """Raises StoreUnavailable, with what to do, unless the database has this schema."""
    if not is_current(database):
        raise StoreUnavailable(
            "The database has not the schema that this version needs; run `penstock migrate` first.",
            part="sql",
            retry_after_s=5,
        )
