"""Which commands of remote control a worker keeps."""

import pytest
from celery.worker.control import Panel

from inference.settings import Settings
from workers import remote_control


@pytest.fixture
def panel(monkeypatch):
    """Celery's commands, put back after the test."""
    monkeypatch.setattr(Panel, "data", dict(Panel.data))
    return Panel.data


def test_in_production_only_what_somebody_uses_is_left(panel):
    remote_control.narrow(Settings(mode="production"))

    assert set(panel) == remote_control.USED
    assert not {"shutdown", "revoke", "terminate", "pool_restart", "rate_limit", "add_consumer"} & set(panel)


def test_in_development_nothing_is_taken_away(panel):
    before = set(panel)

    remote_control.narrow(Settings())

    assert set(panel) == before
    assert "shutdown" in panel
