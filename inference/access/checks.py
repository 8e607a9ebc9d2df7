"""What names, ids and limits may be: asked of what people write, before it is kept."""

import dataclasses
import re

from inference.access.model import Limits
from inference.errors import InvalidField, TenantNotFound

MAX_NAME = 128
MAX_WORKSPACE = 64
MAX_LIMIT = 10**15
MAX_WEIGHT = 1000.0
TENANT_ID = "[a-z0-9][a-z0-9_-]{0,63}"

_TENANT_ID = re.compile(TENANT_ID)


def name(text: str) -> str:
    """The name of a key or tenant. Raises InvalidField."""
    if not 0 < len(text) <= MAX_NAME or not text.isprintable() or text != text.strip():
        raise InvalidField(f"name must be 1 to {MAX_NAME} printable characters, without spaces around.", field="name")
    return text


def workspace(text: str) -> str:
    """The name of a workspace. Raises InvalidField."""
    if not 0 < len(text) <= MAX_WORKSPACE or not text.isprintable() or text != text.strip():
        raise InvalidField(f"A workspace is 1 to {MAX_WORKSPACE} printable characters.", field="workspace_id")
    return text


def new_tenant_id(text: str) -> str:
    """An id that a tenant may get. Raises InvalidField."""
    if _TENANT_ID.fullmatch(text) is None:
        raise InvalidField(
            "tenant_id must be 1 to 64 of a-z, 0-9, `_` and `-`, with a letter or digit first.", field="tenant_id"
        )
    return text


def known_tenant_id(text: str) -> str:
    """An id that a tenant may have: one of another form is the id of none. Raises TenantNotFound."""
    if _TENANT_ID.fullmatch(text) is None:
        raise TenantNotFound(f"There is no tenant '{text[:64]}'.", tenant_id=text[:64])
    return text


def limits(wanted: Limits) -> Limits:
    """Limits that can be kept. Raises InvalidField."""
    for field in (one.name for one in dataclasses.fields(Limits) if one.name != "weight"):
        value = getattr(wanted, field)
        if value is not None and not 0 <= value <= MAX_LIMIT:
            raise InvalidField(f"limits.{field} must be 0 to {MAX_LIMIT}, or null for none.", field=f"limits.{field}")
    if not 0 < wanted.weight <= MAX_WEIGHT:
        raise InvalidField(f"limits.weight must be above 0, {MAX_WEIGHT:.0f} at most.", field="limits.weight")
    return wanted
