"""The Celery application. `celery -A workers.app` finds it here; our own entry points make theirs."""

import os
from collections.abc import Sequence
from typing import Any

from celery import Celery

from inference.settings import Settings, load
from workers.config import celery_config


def make_app(settings: Settings, *, modules: Sequence[str] = ()) -> Any:
    """An application with our configuration and the tasks of `modules`; it connects when it is used."""
    app = Celery("penstock", include=list(modules))
    app.conf.update(celery_config(settings))
    return app


def __getattr__(name: str) -> Any:
    """`celery_app`, made from the environment when Celery's own command asks for it."""
    if name in ("celery_app", "celery", "app"):
        made = make_app(load(os.environ))
        globals().update(celery_app=made, celery=made, app=made)
        return made
    raise AttributeError(name)
