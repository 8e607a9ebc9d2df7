"""The WSGI application: `create_app()` for granian, `create_app(core=...)` for tests."""

import atexit
import os

from flask import Flask

from inference import settings as settings_room
from inference.core import Core
from inference.telemetry import log, sharing


def create_app(core: Core | None = None) -> Flask:
    """The application over `core`, or over a core made from the environment. Raises BadSettings, StoreUnavailable.

    Views are imported here: metrics are declared at import, and must know by then where to keep their figures.
    """
    if core is None:
        settings = settings_room.load(os.environ)
        log.configure(settings, settings.process.role or "api")
        sharing.share(settings.data_dir / "run" / "metrics" / "api")
        from api import wiring

        core = wiring.build(settings)
        atexit.register(core.close)
    from api import assembly

    return assembly.assemble(core)
