"""The pool of nodes and devices, and what services hold of it."""

from typing import Any

from api import context
from api.blueprint import Blueprint
from api.documented import refuses
from api.schemas import pool as schemas
from inference import errors
from inference.access.model import Reach, Role
from inference.serving import pool

blueprint = Blueprint("pool", __name__, description="What there is, who holds it, and what is free")

Json = dict[str, Any]


@blueprint.route("/pool", needs=Role.VIEWER, reach=Reach.SYSTEM)
@blueprint.response(200, schemas.PoolShown(), example=schemas.POOL_EXAMPLE)
def show_pool() -> Json:
    """Show totals, reserved, allocated and free by node and device, and what each service holds"""
    return schemas.pool(pool.show(context.core().serving))


@blueprint.route("/services/<service_id>/usage", needs=Role.VIEWER)
@refuses(errors.ServiceNotFound)
@blueprint.response(200, schemas.ServiceUsage(), example=schemas.USAGE_EXAMPLE)
def show_service_usage(service_id: str) -> Json:
    """Show what a service holds of devices, CPUs and memory, by replica, and what its processes use"""
    context.known_form(service_id, errors.ServiceNotFound, "service")
    found = pool.of_service(context.core().serving, scope=context.scope(), service_id=service_id)
    return schemas.usage(found)
