"""Usage: jobs, rows and engine time of the caller's tenant."""

from typing import Any

from api import context, times
from api.blueprint import Blueprint
from api.documented import refuses
from api.schemas import usage as schemas
from inference import clock, errors
from inference.access.model import Reach, Role
from inference.access.ports import UsageGroup

blueprint = Blueprint("usage", __name__, description="What was used, by key, service or day")


@blueprint.route("/usage", needs=Role.VIEWER, reach=Reach.TENANT)
@blueprint.arguments(schemas.UsageQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.UsageShown(), example=schemas.USAGE_EXAMPLE)
def show_usage(asked: dict[str, Any]) -> dict[str, Any]:
    """Show what the tenant used, by key, service or day (UTC)"""
    group_by = UsageGroup(asked["group_by"])
    first, last = schemas.days(
        times.epoch_of(asked["from_"], "from"), times.epoch_of(asked["to"], "to"), now=clock.epoch_s()
    )
    used = context.core().access.usage.find(context.scope(), day_from=first, day_to=last, group_by=group_by)
    return schemas.shown(used, first=first, last=last, group_by=group_by)
