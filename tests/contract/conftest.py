"""What contract tests of the job store stand on."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.access.ports import AccessPorts
from inference.jobs.model import Claimant
from inference.settings import Settings, StoreSettings
from inference.store import migrate
from inference.store.audit import SqlAudit
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from inference.store.keys import SqlKeys
from inference.store.tenants import SqlTenants
from tests.conftest import KINDS, own_database
from tests.contract import jobs
from tests.fakes_access import make_access


@pytest.fixture
def store(database: Database) -> SqlJobs:
    """The job store, beside one running service."""
    jobs.add_service(database)
    return SqlJobs(database)


@pytest.fixture
def by(store: SqlJobs, database: Database) -> Claimant:
    """An engine process of that service with a minute of lease."""
    return jobs.add_instance(database)


@pytest.fixture(params=KINDS)
def migrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database as migrations leave it: with the triggers, which the tables alone do not have."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/penstock.db", StoreSettings(gate_timeout_s=20.0))
        migrate.upgrade(opened)
        yield opened
        opened.close()
        return
    with own_database(request.getfixturevalue("postgres_url")) as url:
        opened = Database(url, StoreSettings())
        migrate.upgrade(opened)
        yield opened
        opened.close()


@pytest.fixture
def ports(migrated: Database) -> AccessPorts:
    return dataclasses.replace(
        make_access(Settings()), keys=SqlKeys(migrated), tenants=SqlTenants(migrated), audit=SqlAudit(migrated)
    )
