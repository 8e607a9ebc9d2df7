"""The autoscaler's side of a service: its size, and every decision with its reason."""

from typing import Any

from api import context, paging
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import scaling as schemas
from inference import errors
from inference.access.model import Role
from inference.serving import query

blueprint = Blueprint("scaling", __name__, description="What the autoscaler decided, and why")

Json = dict[str, Any]
SHOWN = 10


@blueprint.route("/services/<service_id>/scaling", needs=Role.VIEWER)
@refuses(*READING, errors.ServiceNotFound)
@blueprint.response(200, schemas.ScalingShown())
def show_scaling(service_id: str) -> Json:
    """Show the size a service should have now, and the last decisions that led there"""
    core, scope = context.core(), context.scope()
    known = context.known_form(service_id, errors.ServiceNotFound, "service")
    view = query.describe(core.serving, scope=scope, service_id=known)
    found = core.scaling.store.decisions(scope, service_id=known, limit=SHOWN)
    return {**schemas.scaling(view), "decisions": [schemas.decision(record) for record in found]}


@blueprint.route("/scaling/decisions", needs=Role.VIEWER)
@blueprint.arguments(schemas.DecisionQuery(), location="query")
@refuses(*READING, errors.ServiceNotFound)
@blueprint.response(200, schemas.DecisionPage(), example={"decisions": [schemas.DECISION_EXAMPLE]})
def list_decisions(asked: Json) -> Json:
    """List the decisions of the autoscaler, newest first"""
    limit: int = asked["limit"]
    service_id = asked["service_id"]
    if service_id is not None:
        service_id = context.known_form(service_id, errors.ServiceNotFound, "service")
    found = context.core().scaling.store.decisions(
        context.scope(), service_id=service_id, limit=limit + 1, before_id=paging.before(asked["cursor"])
    )
    return paging.page("decisions", found, limit, lambda record: record.id, schemas.decision)
