"""What contract tests of the job store stand on."""

import pytest

from inference.jobs.model import Claimant
from inference.store.database import Database
from inference.store.jobs import SqlJobs
from tests.contract import jobs


@pytest.fixture
def store(database: Database) -> SqlJobs:
    """The job store, beside one running service."""
    jobs.add_service(database)
    return SqlJobs(database)


@pytest.fixture
def by(store: SqlJobs, database: Database) -> Claimant:
    """An engine process of that service with a minute of lease."""
    return jobs.add_instance(database)
