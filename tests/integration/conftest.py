"""Whole systems for tests: one that the run shares, and own ones for those who break them."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.services import wait_for
from tests.system import BASE, System

OwnSystem = Callable[..., System]


@pytest.fixture(scope="session")
def shared_system() -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="penstock-system-", ignore_cleanup_errors=True) as name:
        system = System(Path(name)).start()
        yield system
        system.stop()


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """The shared system, without a service; what a test creates is removed after it."""
    yield shared_system
    remove_services(shared_system)


@pytest.fixture
def own_system() -> Iterator[OwnSystem]:
    """Starts a system that the test may break; keywords are its settings."""
    with tempfile.TemporaryDirectory(prefix="penstock-system-", ignore_cleanup_errors=True) as name:
        started: list[System] = []

        def begin(**settings: Any) -> System:
            started.append(System(Path(name), **settings))
            return started[-1].start()

        yield begin
        for system in started:
            system.stop()


def remove_services(system: System) -> None:
    for service in system.ask("GET", f"{BASE}/services")["services"]:
        path = f"{BASE}/services/{service['service_id']}"
        if service["status"] not in ("pending", "stopped"):
            with suppress(AssertionError):
                system.ask("POST", f"{path}/stop")
            wait_for(
                lambda at=path: system.ask("GET", at)["status"] in ("stopped", "error"), timeout_s=20, what="stopped"
            )
        system.ask("DELETE", path, expect=204)
