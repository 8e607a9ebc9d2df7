"""Who is acting in this call: set at the edge (a request, a command), read by the store for the audit record.

A context variable, because the act may be many calls below the edge, and because what the system does by itself
(reconciling, recovering) has no actor and is told by service events and logs instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from inference.access.model import Actor

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
