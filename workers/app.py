"""The Celery application. `celery -A workers.app` finds it here; our own entry points make theirs."""

import os
from collections.abc import Sequence
from typing import Any

from celery import Celery

from inference.settings import Settings, load
from workers.config import REDIS_SCHEMES, celery_config


def make_app(settings: Settings, *, modules: Sequence[str] = ()) -> Any:
    """An application with our configuration and the tasks of `modules`; it connects when it is used."""
    app = Celery("penstock", include=list(modules))
    app.conf.update(celery_config(settings))
    if app.conf.broker_url.startswith(REDIS_SCHEMES):
        outlive_reconnects()
    know_own_backends()
    return app


def know_own_backends() -> None:
    """From now on Celery asks no other package for backends of results: it would read the metadata of all there are."""
    from celery.app import backends

    backends.load_extension_class_names = lambda _namespace: ()


def outlive_reconnects() -> None:
    """From now on an acknowledgement over a connection that is gone is a connection error to Celery.

    In Celery 5.7.0 it is an AttributeError ('NoneType' object has no attribute 'hostname') that ends the worker: after
    a reconnect, for a late-acknowledged task that had been fetched before it.
    """
    from kombu.transport.redis import Transport

    if AttributeError not in Transport.connection_errors:
        Transport.connection_errors = (*Transport.connection_errors, AttributeError)


def __getattr__(name: str) -> Any:
    """`celery_app`, made from the environment when Celery's own command asks for it."""
    if name in ("celery_app", "celery", "app"):
        made = make_app(load(os.environ))
        globals().update(celery_app=made, celery=made, app=made)
        return made
    raise AttributeError(name)
