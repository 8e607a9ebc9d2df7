"""Builds the core that the HTTP side works with; the only place in `api` that knows of Celery's side."""

import dataclasses

from inference import wiring
from inference.core import Core
from inference.settings import Settings
from workers import publisher


def build(settings: Settings) -> Core:
    """A core whose submissions ring the workers; `close` ends the connection to the broker too."""
    connected = publisher.connect(settings)
    core = wiring.build(settings, bell=connected.bell, kick=connected.kick, nudge=connected.nudge)

    def close() -> None:
        core.close()
        connected.close()

    return dataclasses.replace(core, close=close)
