"""Fixtures that every kind of test may ask for: real servers, and a database of each kind."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from inference.settings import StoreSettings
from inference.store import migrate, tables
from inference.store.database import Database
from tests import services

KINDS = ("sqlite", "postgresql")
FOLDERS = ("unit", "simulation", "contract", "integration", "e2e", "gpu")


def pytest_configure(config: pytest.Config) -> None:
    for name in FOLDERS:
        if name not in ("e2e", "gpu"):
            config.addinivalue_line("markers", f"{name}: lies in tests/{name}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test carries the name of its folder as a marker."""
    root = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(root) and (folder := item.path.relative_to(root).parts[0]) in FOLDERS:
            item.add_marker(folder)


def missing(name: str, what: services.Missing) -> None:
    """A laptop may lack a server; CI may not, unless `.ci/run` said that this one cannot be had (TESTS_WITHOUT)."""
    if services.IS_CI and name not in os.environ.get("TESTS_WITHOUT", "").split(","):
        pytest.fail(f"CI must have it. {what}", pytrace=False)
    pytest.skip(str(what))


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short path that other users may enter: PostgreSQL and RabbitMQ do not run as root."""
    with tempfile.TemporaryDirectory(prefix="penstock-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def shared_valkey(server_folder: Path) -> Iterator[services.Valkey]:
    server = start(services.Valkey, server_folder / "valkey")
    yield server
    server.stop()


@pytest.fixture
def redis_url(shared_valkey: services.Valkey) -> str:
    """A Valkey that holds nothing yet. Shared by the run: never stop it, ask for `own_valkey` instead."""
    shared_valkey.flush()
    return shared_valkey.url


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[services.Valkey]:
    """A Valkey to stop, kill and start again."""
    server = start(services.Valkey, tmp_path / "valkey")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3(server_folder: Path) -> Iterator[services.SeaweedFs]:
    """An object store of this run, shared: take a prefix of your own; each bucket costs it much."""
    server = start(services.SeaweedFs, server_folder / "seaweedfs")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_url(server_folder: Path) -> Iterator[str]:
    server = start(services.RabbitMq, server_folder / "rabbitmq")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def postgres_url(server_folder: Path) -> Iterator[str]:
    """An empty database of this run: on the server that PENSTOCK_TEST_POSTGRES_URL names, or on one of our own."""
    if url := os.environ.get("PENSTOCK_TEST_POSTGRES_URL"):
        with own_database(url) as own:
            yield own
        return
    server = start(services.Postgres, server_folder / "postgres")
    with own_database(server.url) as own:
        yield own
    server.stop()


def start(kind, folder: Path):  # type: ignore[no-untyped-def]
    """A running server of this kind, or the test ends here."""
    try:
        server = kind(folder)
    except services.Missing as what:
        missing(kind.__name__, what)
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


class own_database:
    """Creates a database beside the one named by `url`, answers its URL, and drops it at the end."""

    def __init__(self, url: str) -> None:
        self._url = re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url)
        self._name = f"penstock_test_{uuid4().hex[:12]}"

    def __enter__(self) -> str:
        self._say(f"CREATE DATABASE {self._name}")
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{self._name}"))

    def __exit__(self, *_: object) -> None:
        self._say(f"DROP DATABASE {self._name} WITH (FORCE)")

    def _say(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres_schema(postgres_url: str) -> str:
    """The run's PostgreSQL database, migrated."""
    database = Database(postgres_url, StoreSettings())
    migrate.upgrade(database)
    database.close()
    return postgres_url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied: the migrations themselves take a while."""
    path = tmp_path_factory.mktemp("template") / "penstock.db"
    database = Database(f"sqlite:///{path}", StoreSettings())
    migrate.upgrade(database)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM tenants")
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Migrated, and without rows but for the counters that migrations put there: once on each kind of database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "penstock.db")
        opened = Database(f"sqlite:///{tmp_path}/penstock.db", StoreSettings())
    else:
        opened = Database(request.getfixturevalue("postgres_schema"), StoreSettings())
        names = ", ".join(f'"{table.name}"' for table in tables.metadata.sorted_tables)
        with opened.write() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # past the audit's trigger
            connection.exec_driver_sql(f"TRUNCATE {names}")
            connection.exec_driver_sql("INSERT INTO access_epoch (id, epoch) VALUES (1, 1)")
            connection.exec_driver_sql("INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '')")
    yield opened
    opened.close()


@pytest.fixture
def database_url(database: Database) -> str:
    """For a second process that opens the same database."""
    return database.url.render_as_string(hide_password=False)
