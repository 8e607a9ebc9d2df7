"""How the services, their tasks and the alerts of a running system stand, from its database."""

from collections import Counter
from pathlib import Path
from typing import Any

from inference import wiring
from inference.alerts.model import Phase
from inference.errors import PenstockError
from inference.settings import Settings

SQLITE = "sqlite:///"


def standing(settings: Settings) -> dict[str, Any]:
    """`{services: {state: count}, tasks: {waiting, running}, alerts: [{severity, rule, service}]}` of all tenants.

    Each is None where the database cannot be read: `status` is asked for when something is wrong, too.
    """
    nothing: dict[str, Any] = {"services": None, "tasks": None, "alerts": None}
    file = settings.database_url.removeprefix(SQLITE)
    if file != settings.database_url and not Path(file).is_file():
        return nothing
    try:
        core = wiring.build(settings)
    except PenstockError:
        return nothing
    try:
        subjects = core.alerts.sources.subjects()
        queues = core.telemetry.flow.queues().values()
        names = {one.id: one.name for one in subjects}
        firing = [one for one in core.alerts.alerts.active() if one.phase is Phase.FIRING]
        return {
            "services": dict(Counter(one.state for one in subjects)),
            "tasks": {"waiting": sum(waiting for waiting, _ in queues), "running": sum(runs for _, runs in queues)},
            "alerts": [
                {"severity": one.severity.value, "rule": one.name, "service": names.get(one.service_id)}
                for one in firing
            ],
        }
    except PenstockError:
        return nothing
    finally:
        core.close()
