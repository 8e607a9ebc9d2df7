"""What a view knows of its surroundings."""

from typing import cast

from flask import current_app

from inference.core import Core
from inference.errors import NotFound
from inference.ids import DEFAULT_TENANT, is_id

EXTENSION = "penstock"
BASE = "/api/v1/inference"
ALIAS = "/api/inference"


def core() -> Core:
    """The bundle of ports of this process."""
    return cast(Core, current_app.extensions[EXTENSION])


def tenant_id() -> str:
    """Whose data this request may see. Without keys there is one tenant."""
    return DEFAULT_TENANT


def known_form(text: str, otherwise: type[NotFound], what: str) -> str:
    """`text` when it can be an id at all; a malformed id is an unknown one."""
    if not is_id(text):
        raise otherwise(f"There is no {what} `{text[:64]}`.", id=text[:64])
    return text
