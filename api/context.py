"""What a view knows of its surroundings."""

from collections.abc import Sequence
from typing import cast

from flask import current_app, request

from inference.access.model import Principal, Scope
from inference.core import Core
from inference.errors import NotFound
from inference.ids import is_id
from inference.notify import guard

EXTENSION = "penstock"
PRINCIPAL = "penstock.principal"
"""Where the guard leaves who is asking, in the request's environment."""

BASE = "/api/v1/inference"
ALIAS = "/api/inference"


def core() -> Core:
    """The bundle of ports of this process."""
    return cast(Core, current_app.extensions[EXTENSION])


def principal() -> Principal:
    """Who makes this request; of a guarded view."""
    return cast(Principal, request.environ[PRINCIPAL])


def scope() -> Scope:
    """What this request may see and change; all else does not exist for it."""
    return principal().scope


def tenant_id() -> str:
    """Whose models and uploads these are: they belong to a tenant as a whole."""
    return principal().scope.tenant_id


def may_call() -> Sequence[guard.Network]:
    """What a webhook of this caller may reach though it is not public: on an open system also this machine itself."""
    return guard.reach(core().settings.notify.allowed_networks, is_open=principal().key_id is None)


def known_form(text: str, otherwise: type[NotFound], what: str) -> str:
    """`text` when it can be an id at all; a malformed id is an unknown one."""
    if not is_id(text):
        raise otherwise(f"There is no {what} `{text[:64]}`.", id=text[:64])
    return text
