"""Keys, tenants and workspaces on the wire."""

import dataclasses
import struct
from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from api.schemas.common import A_TIME, AN_ID, ID_PATTERN, Flag, QueryNumber, Text, WholeNumber, id_in, time_field
from inference import clock
from inference.access import checks
from inference.access.keys import MAX_OVERLAP_S
from inference.access.model import NO_LIMITS, ApiKey, Limits, Principal, Role, Tenant
from inference.errors import InvalidField

A_KEY_ID = "0b51e3c2a9d4"
KEY_ID_PATTERN = "^[0-9a-f]{12}$"
ROLES = [role.value for role in Role]
NAME = {"pattern": "^\\S(.*\\S)?$", "maxLength": checks.MAX_NAME}
WORKSPACE = {"pattern": "^\\S(.*\\S)?$", "maxLength": checks.MAX_WORKSPACE}
TENANT_ID = {"pattern": f"^{checks.TENANT_ID}$", "example": "acme"}
KEY_EXAMPLE = {
    "name": "line 3",
    "role": "submitter",
    "service_id": AN_ID,
    "expires_in_s": 7_776_000,
    "limits": {"requests_per_s": 50},
}
CREATED_EXAMPLE = {
    "key_id": A_KEY_ID,
    "key": f"pst_{A_KEY_ID}_{'0' * 64}",
    "name": "line 3",
    "role": "submitter",
    "tenant_id": "default",
    "service_id": AN_ID,
    "created_at": A_TIME,
}
KEY_CURSOR = "^4[0-9a-f]{27}$"
"""When the last key shown was made (an IEEE double, in hex), and its id."""


class Amount(fields.Float):
    """A number in a JSON body: no text, no boolean, none of NaN and infinity."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


_FREE = {"minimum": 0, "maximum": checks.MAX_LIMIT}


class LimitsIn(ma.Schema):
    """What is left out stays as it is; null is no limit."""

    requests_per_s = Amount(allow_none=True, metadata=_FREE)
    jobs_waiting = WholeNumber(allow_none=True, metadata=_FREE)
    bytes_stored = WholeNumber(allow_none=True, metadata=_FREE)
    gpu_seconds_per_day = Amount(allow_none=True, metadata=_FREE)
    weight = Amount(
        metadata={
            "description": "Share of a service that several keys load at once, relative to the others",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": checks.MAX_WEIGHT,
        }
    )


class TenantLimitsIn(LimitsIn):
    """Those of a tenant: also what its services may hold together."""

    replicas = WholeNumber(allow_none=True, metadata={"description": "Replicas of all its services", **_FREE})
    gpus = WholeNumber(allow_none=True, metadata={"description": "Replicas that ask for a GPU", **_FREE})
    gpu_memory_bytes = WholeNumber(allow_none=True, metadata={"description": "That its replicas ask for", **_FREE})


class LimitsShown(ma.Schema):
    """Those that are set."""

    replicas = fields.Integer()
    gpus = fields.Integer()
    gpu_memory_bytes = fields.Integer()

    requests_per_s = fields.Float()
    jobs_waiting = fields.Integer()
    bytes_stored = fields.Integer()
    gpu_seconds_per_day = fields.Float()
    weight = fields.Float()


class LimitsUsed(ma.Schema):
    """Of each quota that holds: up to a minute old."""

    jobs_waiting = fields.Integer()
    bytes_stored = fields.Integer()
    gpu_seconds_per_day = fields.Float(metadata={"description": "Since midnight UTC"})


class KeyIn(ma.Schema):
    name = Text(required=True, metadata={"description": "For lists and the audit record", **NAME})
    role = Text(required=True, metadata={"enum": ROLES})
    service_id = id_in("Open this service alone")
    workspace_id = Text(metadata={"description": "Open the services of this workspace alone", **WORKSPACE})
    tenant_id = Text(metadata={"description": "Another tenant than the caller's: system keys only", **TENANT_ID})
    is_system = Flag(load_default=False, metadata={"description": "Also for nodes, tenants and the audit chain"})
    expires_at = Text(metadata={"description": "ISO 8601; with an offset, or UTC", "pattern": f"^{clock.ISO_FORM}$"})
    expires_in_s = Amount(metadata={"description": "Instead of `expires_at`", "minimum": 1, "maximum": 3_155_760_000})
    limits = fields.Nested(LimitsIn, load_default=dict)


class KeyChange(ma.Schema):
    name = Text(metadata=NAME)
    limits = fields.Nested(LimitsIn)


class RotateIn(ma.Schema):
    overlap_s = Amount(
        load_default=86_400.0,
        metadata={
            "description": "For how long the secret before this one still opens",
            "minimum": 0,
            "maximum": MAX_OVERLAP_S,
        },
    )


def _key_id() -> fields.String:
    return fields.String(
        metadata={"description": "The public part of the key", "example": A_KEY_ID, "pattern": KEY_ID_PATTERN}
    )


class Holder(ma.Schema):
    name = fields.String()
    role = fields.String(validate=validate.OneOf(ROLES))
    tenant_id = fields.String()
    workspace_id = fields.String(allow_none=True)
    service_id = fields.String(allow_none=True, metadata={"pattern": ID_PATTERN})
    limits = fields.Nested(LimitsShown)


class Me(Holder):
    """Who makes this request. `key_id` null: the system is open, and asks nobody."""

    key_id = fields.String(allow_none=True, metadata={"pattern": KEY_ID_PATTERN})
    reach = fields.String(validate=validate.OneOf(["service", "workspace", "tenant", "system"]))
    tenant_limits = fields.Nested(LimitsShown)
    used = fields.Nested(LimitsUsed, metadata={"description": "Of the key's limits, as far as they are quotas"})
    tenant_used = fields.Nested(LimitsUsed, metadata={"description": "Of the tenant's, or of the defaults"})


class KeyShown(Holder):
    """Never its text, nor what the text is checked by."""

    key_id = _key_id()
    is_system = fields.Boolean()
    is_for_service = fields.Boolean(metadata={"description": "Made by the short form of service creation"})
    created_at = time_field("When it was made", nullable=False)
    created_by = fields.String(metadata={"description": "The id of the key that made it, or who else did"})
    expires_at = time_field("When it opens nothing any more")
    rotated_at = time_field("When its secret was last changed")
    previous_until = time_field("Until when the secret before this one opens")
    revoked_at = time_field("When it was revoked")


class KeyCreated(KeyShown):
    """The only answer that holds the key's text."""

    key = fields.String(metadata={"description": "Shown this once; it cannot be read again"})


class KeyPage(ma.Schema):
    keys = fields.List(fields.Nested(KeyShown))
    next = fields.String(metadata={"description": "Cursor of the next page; absent on the last", "pattern": KEY_CURSOR})


class PageOf(ma.Schema):
    limit = QueryNumber(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT, error="It must be from 1 to 1000."),
        metadata={"description": "How many to show"},
    )


class KeyQuery(PageOf):
    cursor = fields.String(
        load_default=None,
        validate=validate.Regexp(KEY_CURSOR, error="It must be a `next` from an earlier answer."),
        metadata={"description": "`next` of the page before"},
    )


class TenantIn(ma.Schema):
    tenant_id = Text(required=True, metadata={"description": "Chosen by you; never changes", **TENANT_ID})
    name = Text(metadata=NAME)
    limits = fields.Nested(TenantLimitsIn, load_default=dict)


class TenantChange(ma.Schema):
    name = Text(metadata=NAME)
    limits = fields.Nested(TenantLimitsIn)
    disabled = Flag(metadata={"description": "Its keys open nothing; its tasks run to their end"})


class TenantShown(ma.Schema):
    tenant_id = fields.String(metadata=TENANT_ID)
    name = fields.String()
    limits = fields.Nested(LimitsShown)
    disabled = fields.Boolean()
    created_at = time_field("When it was made", nullable=False)


class TenantPage(ma.Schema):
    tenants = fields.List(fields.Nested(TenantShown))
    next = fields.String(metadata={"description": "Cursor of the next page; absent on the last", **TENANT_ID})


class TenantQuery(PageOf):
    cursor = fields.String(
        load_default=None,
        validate=validate.Regexp(f"^{checks.TENANT_ID}\\Z", error="It must be a `next` from an earlier answer."),
        metadata={"description": "`next` of the page before", **TENANT_ID},
    )


class WorkspaceShown(ma.Schema):
    workspace_id = fields.String(metadata={"description": "Empty: services without one"})
    services = fields.Integer(metadata={"description": "How many it has"})


class WorkspaceList(ma.Schema):
    workspaces = fields.List(fields.Nested(WorkspaceShown))


def limits_of(asked: dict[str, Any], before: Limits = NO_LIMITS) -> Limits:
    """`before`, with what the body says of its limits."""
    return dataclasses.replace(before, **asked)


def expiry_of(asked: dict[str, Any]) -> float | None:
    """When the key of this body ends, epoch seconds. Raises InvalidField."""
    if "expires_in_s" in asked:
        if "expires_at" in asked:
            raise InvalidField("`expires_at` and `expires_in_s` stand both; give one.", field="expires_in_s")
        if not 1 <= asked["expires_in_s"] <= 3_155_760_000:
            raise InvalidField("expires_in_s must be 1 second to 100 years.", field="expires_in_s")
        return clock.epoch_s() + float(asked["expires_in_s"])
    if "expires_at" not in asked:
        return None
    try:
        return clock.from_iso(asked["expires_at"])
    except (ValueError, OverflowError) as error:
        raise InvalidField("expires_at must be a time in ISO 8601.", field="expires_at") from error


def role_of(text: str) -> Role:
    """Raises InvalidField."""
    try:
        return Role(text)
    except ValueError as error:
        raise InvalidField(f"role must be one of {', '.join(ROLES)}.", field="role") from error


def cursor_of(key: ApiKey) -> str:
    return struct.pack(">d", key.created_at).hex() + key.id


def before(cursor: str | None) -> tuple[float, str] | None:
    """What a cursor of keys stands for; its form was looked at by the schema."""
    if cursor is None:
        return None
    return struct.unpack(">d", bytes.fromhex(cursor[:16]))[0], cursor[16:]


def limits(shown: Limits) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(shown).items() if value is not None}


def _holder(holder: ApiKey | Principal) -> dict[str, Any]:
    return {
        "name": holder.name,
        "role": holder.role.value,
        "tenant_id": holder.scope.tenant_id,
        "workspace_id": holder.scope.workspace,
        "service_id": holder.scope.service_id,
        "limits": limits(holder.limits),
    }


def key(shown: ApiKey) -> dict[str, Any]:
    """A key as lists show it."""
    times = ("created_at", "expires_at", "rotated_at", "previous_until", "revoked_at")
    return {
        "key_id": shown.id,
        **_holder(shown),
        "is_system": shown.is_system,
        "is_for_service": shown.is_for_service,
        "created_by": shown.created_by,
        **{name: clock.iso(getattr(shown, name)) for name in times},
    }


def me(principal: Principal, used: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    return {
        "key_id": principal.key_id,
        **_holder(principal),
        "reach": principal.reach.name.lower(),
        "tenant_limits": limits(principal.tenant_limits),
        "used": used["key"],
        "tenant_used": used["tenant"],
    }


def tenant(shown: Tenant) -> dict[str, Any]:
    return {
        "tenant_id": shown.id,
        "name": shown.name,
        "limits": limits(shown.limits),
        "disabled": shown.is_disabled,
        "created_at": clock.iso(shown.created_at),
    }
