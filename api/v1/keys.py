"""Keys: make, list, show, change, rotate, revoke; and who am I."""

import re
from typing import Any

from flask import request

from api import context, paging
from api.blueprint import FORMS, Blueprint
from api.documented import READING, refuses
from api.schemas import access as schemas
from api.schemas.common import EmptyIn
from inference import errors
from inference.access import keys
from inference.access.model import Role
from inference.serving import query

blueprint = Blueprint("keys", __name__, description="Keys open the API: a role, and the part of the data it is for")

Json = dict[str, Any]

_KEY_ID = re.compile(FORMS["key_id"])


@blueprint.route("/keys", methods=["POST"], needs=Role.ADMIN)
@blueprint.arguments(schemas.KeyIn(), example=schemas.KEY_EXAMPLE)
@refuses(*READING, errors.ServiceNotFound, errors.TenantNotFound)
@blueprint.response(201, schemas.KeyCreated(), example=schemas.CREATED_EXAMPLE)
def create_key(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Make a key; its text is in this answer and nowhere else

    It opens on every process within a second. Nobody hands out more than they have. The first key that is made closes
    an open system.
    """
    core, by = context.core(), context.principal()
    role, expires_at = schemas.role_of(wanted["role"]), schemas.expiry_of(wanted)
    scope = keys.narrowed(
        by,
        tenant_id=wanted.get("tenant_id"),
        workspace=wanted.get("workspace_id"),
        service_id=wanted.get("service_id"),
    )
    if scope.service_id is not None:
        context.known_form(scope.service_id, errors.ServiceNotFound, "service")
        query.get(core.serving, scope=scope, service_id=scope.service_id)
    made = keys.create(
        core.access,
        by=by,
        name=wanted["name"],
        role=role,
        scope=scope,
        is_system=wanted["is_system"],
        expires_at=expires_at,
        limits=schemas.limits_of(wanted["limits"]),
    )
    return _with_text(made), 201, {"Location": f"{request.path.rstrip('/')}/{made.key.id}"}


def _with_text(made: keys.Shown) -> Json:
    return {**schemas.key(made.key), "key": made.text}


@blueprint.route("/keys", needs=Role.ADMIN)
@blueprint.arguments(schemas.KeyQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.KeyPage())
def list_keys(asked: Json) -> Json:
    """List keys, newest first, revoked and expired ones too"""
    limit: int = asked["limit"]
    found = keys.find(
        context.core().access, by=context.principal(), limit=limit + 1, before=schemas.before(asked["cursor"])
    )
    return paging.page("keys", found, limit, schemas.cursor_of, schemas.key)


def _named(key_id: str) -> Json:
    if not _KEY_ID.fullmatch(key_id):
        raise errors.KeyNotFound(f"There is no API key {key_id[:32]}.", key_id=key_id[:32])
    return {"by": context.principal(), "key_id": key_id}


@blueprint.route("/keys/<key_id>", needs=Role.ADMIN)
@refuses(errors.KeyNotFound)
@blueprint.response(200, schemas.KeyShown())
def show_key(key_id: str) -> Json:
    """Show a key, without its text"""
    return schemas.key(keys.get(context.core().access, **_named(key_id)))


@blueprint.route("/keys/<key_id>", methods=["PATCH"], needs=Role.ADMIN)
@blueprint.arguments(schemas.KeyChange(), required=False, example={"limits": {"requests_per_s": 100}})
@refuses(*READING, errors.KeyNotFound)
@blueprint.response(200, schemas.KeyShown())
def change_key(changes: Json, key_id: str) -> Json:
    """Change a key's name or limits; its role and scope never change"""
    access, named = context.core().access, _named(key_id)
    limits = None
    if "limits" in changes:
        limits = schemas.limits_of(changes["limits"], keys.get(access, **named).limits)
    return schemas.key(keys.change(access, **named, name=changes.get("name"), limits=limits))


@blueprint.route("/keys/<key_id>/rotate", methods=["POST"], needs=Role.ADMIN)
@blueprint.arguments(schemas.RotateIn(), required=False, example={"overlap_s": 86_400})
@refuses(*READING, errors.KeyNotFound, errors.WrongState)
@blueprint.response(200, schemas.KeyCreated())
def rotate_key(wanted: Json, key_id: str) -> Json:
    """Give a key a new secret, shown this once; the one before it opens for a while more"""
    return _with_text(keys.rotate(context.core().access, **_named(key_id), overlap_s=wanted["overlap_s"]))


@blueprint.route("/keys/<key_id>/revoke", methods=["POST"], needs=Role.ADMIN)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.KeyNotFound)
@blueprint.response(200, schemas.KeyShown())
def revoke_key(_: Json, key_id: str) -> Json:
    """Revoke a key for good; it opens nothing within a second"""
    return schemas.key(keys.revoke(context.core().access, **_named(key_id)))


@blueprint.route("/me", needs=Role.VIEWER)
@blueprint.response(200, schemas.Me())
def show_me() -> Json:
    """Show whose key this request shows: its role, scope and limits, and what is used of these"""
    by = context.principal()
    return schemas.me(by, context.core().jobs.admission.used(by))
