"""Tenants: make, list, show, change, disable, delete. For holders of system keys."""

from typing import Any

from flask import request

from api import context, paging
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import access as schemas
from inference import errors
from inference.access import tenants
from inference.access.model import Reach, Role

blueprint = Blueprint("tenants", __name__, description="Tenants see nothing of one another")

Json = dict[str, Any]


@blueprint.route("/tenants", methods=["POST"], needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(
    schemas.TenantIn(), example={"tenant_id": "acme", "name": "Acme", "limits": {"jobs_waiting": 1000}}
)
@refuses(*READING, errors.NameExists)
@blueprint.response(201, schemas.TenantShown())
def create_tenant(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Make a tenant; then make its first key (POST /keys with its `tenant_id`)"""
    tenant = tenants.create(
        context.core().access,
        tenant_id=wanted["tenant_id"],
        name=wanted.get("name"),
        limits=schemas.limits_of(wanted["limits"]),
    )
    return schemas.tenant(tenant), 201, {"Location": f"{request.path.rstrip('/')}/{tenant.id}"}


@blueprint.route("/tenants", needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.TenantQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.TenantPage())
def list_tenants(asked: Json) -> Json:
    """List tenants by id"""
    limit: int = asked["limit"]
    found = tenants.find(context.core().access, limit=limit + 1, after_id=asked["cursor"])
    return paging.page("tenants", found, limit, lambda tenant: tenant.id, schemas.tenant)


@blueprint.route("/tenants/<tenant_id>", needs=Role.ADMIN, reach=Reach.SYSTEM)
@refuses(errors.TenantNotFound)
@blueprint.response(200, schemas.TenantShown())
def show_tenant(tenant_id: str) -> Json:
    """Show a tenant"""
    return schemas.tenant(tenants.get(context.core().access, tenant_id=tenant_id))


@blueprint.route("/tenants/<tenant_id>", methods=["PATCH"], needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.TenantChange(), required=False, example={"disabled": True})
@refuses(*READING, errors.TenantNotFound, errors.WrongState)
@blueprint.response(200, schemas.TenantShown())
def change_tenant(changes: Json, tenant_id: str) -> Json:
    """Change a tenant's name or limits, or disable it: its keys open nothing within a second"""
    access, limits = context.core().access, None
    if "limits" in changes:
        limits = schemas.limits_of(changes["limits"], tenants.get(access, tenant_id=tenant_id).limits)
    tenant = tenants.change(
        access,
        by=context.principal(),
        tenant_id=tenant_id,
        name=changes.get("name"),
        limits=limits,
        is_disabled=changes.get("disabled"),
    )
    return schemas.tenant(tenant)


@blueprint.route("/tenants/<tenant_id>", methods=["DELETE"], needs=Role.ADMIN, reach=Reach.SYSTEM)
@refuses(errors.TenantNotFound, errors.InUse, errors.WrongState)
@blueprint.response(204)
def delete_tenant(tenant_id: str) -> None:
    """Delete a tenant that has nothing left; its keys are revoked"""
    tenants.delete(context.core().access, by=context.principal(), tenant_id=tenant_id)
