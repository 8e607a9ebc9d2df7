"""One application; each test works on a core of its own, in memory."""

import pytest

from api import context
from api.app import create_app
from tests import fakes


@pytest.fixture
def core():
    made = fakes.make_core()
    yield made
    made.close()


@pytest.fixture(scope="session")
def application():
    return create_app(fakes.make_core())


@pytest.fixture
def client(application, core):
    application.extensions[context.EXTENSION] = core
    return application.test_client()


@pytest.fixture
def service(core):
    """A running service whose model takes `x`, float32 [batch, 2]."""
    return fakes.add_service(core)
