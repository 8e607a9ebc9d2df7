"""Databases of a benchmark: SQLite on a file, and a PostgreSQL that makes its commits safe."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from inference.settings import StoreSettings
from inference.store.database import Database
from inference.store.migrate import upgrade
from tests.services import Missing, Postgres

NAMES = ("sqlite", "postgresql")
SAFE = {"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "4GB"}


def postgres(folder: Path, **settings: str) -> Postgres:
    """A server of our own, not yet started; its commits are on the disk when they return."""
    try:
        return Postgres(folder, **SAFE | settings)
    except Missing as missing:
        raise SystemExit(str(missing)) from missing


@contextmanager
def database(name: str, folder: Path, *, connections: int = 4) -> Iterator[Database]:
    """An empty one of the newest schema, with the settings of the product but for the patience."""
    folder.mkdir(parents=True, exist_ok=True)
    server = postgres(folder / "server") if name == "postgresql" else None
    url = f"sqlite:///{folder}/bench.db"
    if server is not None:
        server.start()
        url = server.url
    try:
        opened = Database(url, StoreSettings(gate_timeout_s=60.0, pool_size=connections))
        upgrade(opened)
        yield opened
        opened.close()
    finally:
        if server is not None:
            server.stop()


def backends(db: Database) -> list[psutil.Process]:
    """The processes of the server that work for this one; none of SQLite."""
    if db.is_sqlite:
        return []
    with db.read() as connection:
        rows = connection.exec_driver_sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'penstock'")
        return [psutil.Process(row.pid) for row in rows]
