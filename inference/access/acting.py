"""Who is acting in this call: set at the edge (a request, a command), read by the store for the audit record.

A context variable, because the act may be many calls below the edge, and because what the system does by itself
(reconciling, recovering) has no actor and is told by service events and logs instead.
"""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from inference.access.model import Actor
from inference.ids import DEFAULT_TENANT

_current: ContextVar[Actor | None] = ContextVar("penstock_actor", default=None)


def current() -> Actor | None:
    """The actor of this call; None when nobody asked for it."""
    return _current.get()


def key_id() -> str | None:
    """The id of the key that acts; None when nobody does, or without a key."""
    actor = _current.get()
    return actor.id if actor is not None and actor.kind == "key" else None


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """What is changed inside is recorded as this actor's act."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)


def local_user() -> str:
    """Who runs this process, as the operating system knows them; a container's user often has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def local(operation: str) -> Actor:
    """The actor of a command that somebody runs on the system's own machine."""
    user = local_user()
    return Actor(tenant_id=DEFAULT_TENANT, kind="cli", id=user, name=user, address="local", operation=operation)
