"""SQL does as the reference store does, whatever is done to the two in whatever order.

So what the simulation shows of the reference store (`tests/simulation`) holds for SQLite and PostgreSQL.
"""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from inference.store.database import Database
from tests.contract import jobs
from tests.contract.job_machine import JobMachine
from tests.simulation import mutants
from tests.simulation.store import ModelStore

EXAMPLES = 60
STEPS = 50
HOW = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


MUTANTS = (
    mutants.NoFenceOnAttempt,
    mutants.NoFenceOnGeneration,
    mutants.NoFenceOnInstance,
    mutants.FinishWithoutStateCheck,
    mutants.ReapBlindToNewLives,
    mutants.RetryKeepsResult,
    mutants.CancelIgnored,
    mutants.NobodySuspected,
)


def machine(database: Database, model_kind: type[ModelStore] = ModelStore) -> type[JobMachine]:
    found: Any = type("Machine", (JobMachine,), {"database": database, "model_kind": model_kind})
    return found


@pytest.fixture
def hurried(database: Database) -> Database:
    """Commits do not wait for the disk: nothing is killed here."""
    setting = "PRAGMA synchronous = OFF" if database.is_sqlite else "SET synchronous_commit = off"

    @sa.event.listens_for(database.engine, "connect")
    def _hurry(connection: Any, _record: object) -> None:
        connection.execute(setting)
        if not database.is_sqlite:
            connection.commit()

    database.engine.dispose()
    jobs.add_service(database)
    return database


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sql_does_as_the_reference_store_does(hurried: Database):
    run_state_machine_as_test(machine(hurried), settings=HOW)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_store_that_does_otherwise_is_told_apart(hurried: Database, mutant: type[ModelStore]):
    how = settings(HOW, phases=[Phase.generate], max_examples=4 * EXAMPLES)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(hurried, mutant), settings=how)
