"""A core on a real SQLite file with short limits, and a house on it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference import wiring
from inference.core import Core
from inference.settings import ServingSettings, Settings, WorkersSettings, load
from inference.store import migrate
from inference.store.database import Database
from tests.integration.node.house import OBEDIENT, House


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    database = Database(f"sqlite:///{tmp_path}/penstock.db", load({}).store)
    migrate.upgrade(database)
    database.close()
    quick = load({"PENSTOCK_DATA_DIR": str(tmp_path)})
    return dataclasses.replace(
        quick,
        workers=WorkersSettings(stop_grace_s=0.5),
        serving=ServingSettings(load_deadline_s=0.5, replica_silence_s=0.6, restart_backoff_cap_s=1.0),
    )


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    core = wiring.build(settings)
    yield core
    core.close()


@pytest.fixture
def house(core: Core) -> Iterator[House]:
    house = House(core, OBEDIENT)
    yield house
    house.agent.close()
