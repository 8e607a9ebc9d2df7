"""A world with two tenants, once on SQLite and once on PostgreSQL, and who notes what is asked of the database."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import KINDS, own_database
from tests.integration.isolation.recorder import Recorder
from tests.integration.isolation.two_tenants import World


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    redis_url = request.getfixturevalue("shared_valkey").url
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="penstock-two-")))
        url = f"sqlite:///{folder}/penstock.db"
        if request.param == "postgresql":
            url = held.enter_context(own_database(request.getfixturevalue("postgres_url")))
        made = World(folder, redis_url, url)
        held.callback(made.close)
        yield made


@pytest.fixture(scope="module")
def document(world: World) -> Any:
    return world.client.get("/openapi.json").json


@pytest.fixture(scope="module")
def recorder(world: World) -> Iterator[Recorder]:
    made = Recorder()
    sa.event.listen(sa.Engine, "before_cursor_execute", made.note)
    yield made
    sa.event.remove(sa.Engine, "before_cursor_execute", made.note)
