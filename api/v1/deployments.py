"""Deployments: a model version in an environment, with a service behind it."""

from typing import Any

from api import context, paging, pool_quota
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import models as schemas
from api.schemas.common import AN_ID
from api.v1.models import require_admin_for_code
from api.v1.services import config_defaults
from inference import errors
from inference.access.model import Reach, Role
from inference.serving import config as configs
from inference.serving import deploy, query
from inference.serving.model import Deployment

blueprint = Blueprint("deployments", __name__, description="Model versions in their environments")

Json = dict[str, Any]


@blueprint.route("/deployments", methods=["POST"], needs=Role.OPERATOR, reach=Reach.WORKSPACE)
@blueprint.arguments(
    schemas.DeployIn(), example={"model_id": AN_ID, "environment": "production", "config": {"replicas": 2}}
)
@refuses(*READING, errors.ModelNotFound, errors.WrongState, errors.ModelRunsCode, errors.QuotaExceeded)
@blueprint.response(201, schemas.DeploymentShown())
def create_deployment(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Deploy a model version: a record, and a service that is created and started"""
    config = configs.read(wanted["config"], config_defaults())
    require_admin_for_code(config.allow_code)
    pool_quota.require(config)
    made = deploy.deploy(
        context.core().serving,
        scope=context.scope(),
        model_id=context.known_form(wanted["model_id"], errors.ModelNotFound, "model"),
        environment=wanted["environment"],
        config=config,
    )
    return _with_status(made), 201, {"Location": f"/v1/deployments/{made.id}"}


def _with_status(record: Deployment) -> Json:
    """A deployment outlives its service; then its status is `deleted`."""
    try:
        service = query.get(context.core().serving, scope=context.scope(), service_id=record.service_id)
    except errors.ServiceNotFound:
        return {**schemas.deployment(record), "status": "deleted"}
    return {**schemas.deployment(record), "status": service.state.value}


@blueprint.route("/deployments", needs=Role.VIEWER)
@blueprint.arguments(schemas.DeploymentQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.DeploymentPage())
def list_deployments(asked: Json) -> Json:
    """List deployments, newest first"""
    limit: int = asked["limit"]
    found = deploy.find(
        context.core().serving,
        scope=context.scope(),
        model_id=asked["model_id"],
        limit=limit + 1,
        before_id=paging.before(asked["cursor"]),
    )
    return paging.page("deployments", found, limit, lambda record: record.id, schemas.deployment)


@blueprint.route("/deployments/<deployment_id>", needs=Role.VIEWER)
@refuses(errors.DeploymentNotFound)
@blueprint.response(200, schemas.DeploymentShown())
def show_deployment(deployment_id: str) -> Json:
    """Show a deployment and the state of its service"""
    context.known_form(deployment_id, errors.DeploymentNotFound, "deployment")
    found = deploy.get(context.core().serving, scope=context.scope(), deployment_id=deployment_id)
    return _with_status(found)
