"""Services: create, start, stop, restart, scale, update, delete, list, show."""

from typing import Any

from flask import request

from api import context, paging, pool_quota
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.errors import JSON
from api.schemas import services as schemas
from api.schemas.access import WorkspaceList
from api.schemas.common import EmptyIn
from api.v1 import short_form
from api.v1.models import require_admin_for_code, require_own_file
from inference import clock, errors
from inference.access import checks, keys
from inference.access.model import Reach, Role, Scope
from inference.serving import config as configs
from inference.serving import control, create, query
from inference.serving.model import Service, ServiceConfig, ServiceState

blueprint = Blueprint("services", __name__, description="Services run a model version")

Json = dict[str, Any]


@blueprint.route("/services", methods=["POST"], needs=Role.OPERATOR, reach=Reach.WORKSPACE)
@blueprint.arguments(schemas.ServiceIn(), examples=schemas.CREATE_EXAMPLES)
@blueprint.doc(requestBody={"content": {JSON: {"schema": schemas.ONE_OF_TWO}}})
@refuses(
    *READING,
    errors.ModelNotFound,
    errors.NameExists,
    errors.WrongState,
    errors.ModelInvalid,
    errors.ModelRunsCode,
    errors.ModelPathRefused,
    errors.UploadNotFound,
    errors.NoRoom,
    errors.QuotaExceeded,
)
@blueprint.response(201, schemas.ServiceCreated(), example=schemas.CREATED_EXAMPLE)
def create_service(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Create a service

    With `model_id` the service waits to be started. The short form, with `model_path`, registers the model, creates
    and starts the service in one call.
    """
    core, scope = context.core(), context.scope()
    config = configs.read(wanted.get("config") or {}, config_defaults())
    require_admin_for_code(config.allow_code)
    if wanted.get("workspace_id"):
        checks.workspace(wanted["workspace_id"])  # before a model is registered for nothing
    if "model_path" in wanted or "framework" in wanted:
        if isinstance(wanted.get("model_path"), str):
            require_own_file(wanted["model_path"])
        pool_quota.require(config)
        service = short_form.create(core, scope=scope, wanted=wanted, config=config)
    else:
        _only_with_model_path(wanted)
        model_id = context.known_form(wanted["model_id"], errors.ModelNotFound, "model")
        service = create.create(
            core.serving,
            scope=scope,
            model_id=model_id,
            config=config,
            name=wanted.get("name"),
            workspace=wanted.get("workspace_id", ""),
        )
    path = f"{request.path.rstrip('/')}/{service.id}"
    created: Json = {
        "service_id": service.id,
        "status": service.state.value,
        "created_at": clock.iso(service.created_at),
        "model_id": service.model_id,
    }
    if "model_path" in wanted:
        created |= {"endpoint_url": f"{request.host_url.rstrip('/')}{path}/tasks", "api_key": _key_of(service)}
    return created, 201, {"Location": path}


def _key_of(service: Service) -> str:
    """A key for this service alone, shown this once. It does not close an open system."""
    made = keys.create(
        context.core().access,
        by=context.principal(),
        name=f"service {service.name}"[: keys.MAX_NAME].rstrip(),
        role=Role.SUBMITTER,
        scope=Scope(service.tenant_id, context.scope().workspace, service.id),
        is_for_service=True,
    )
    return made.text


def _only_with_model_path(wanted: Json) -> None:
    if "model_id" not in wanted:
        raise errors.InvalidField(
            "Name a registered model (`model_id`), or bring one (`name`, `model_path`, `framework`).", field="model_id"
        )
    for name in ("description", "customer_id"):
        if name in wanted:
            raise errors.UnknownField(f"The field `{name}` goes with `model_path` only.", field=name)


def config_defaults() -> ServiceConfig:
    settings = context.core().settings
    return configs.defaults(settings.jobs, settings.engines)


@blueprint.route("/services", needs=Role.VIEWER)
@blueprint.arguments(schemas.ServiceQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.ServicePage())
def list_services(asked: Json) -> Json:
    """List services, newest first"""
    limit: int = asked["limit"]
    found = query.find(
        context.core().serving,
        scope=context.scope(),
        state=ServiceState(asked["status"]) if asked["status"] else None,
        workspace=asked["workspace_id"],
        limit=limit + 1,
        before_id=paging.before(asked["cursor"]),
    )
    return paging.page("services", found, limit, lambda service: service.id, schemas.summary)


@blueprint.route("/workspaces", needs=Role.VIEWER)
@blueprint.response(200, WorkspaceList())
def list_workspaces() -> Json:
    """List the workspaces of the services that the caller sees, by name"""
    found = query.workspaces(context.core().serving, scope=context.scope())
    return {"workspaces": [{"workspace_id": name, "services": count} for name, count in found]}


@blueprint.route("/services/<service_id>", needs=Role.VIEWER)
@refuses(errors.ServiceNotFound)
@blueprint.response(200, schemas.ServiceShown(), example=schemas.SERVICE_EXAMPLE)
def show_service(service_id: str) -> Json:
    """Show a service with its replicas and the batch curve of its model"""
    return schemas.full(query.describe(context.core().serving, **_named(service_id)))


def _named(service_id: str) -> Json:
    context.known_form(service_id, errors.ServiceNotFound, "service")
    return {"scope": context.scope(), "service_id": service_id}


@blueprint.route("/services/<service_id>/history", needs=Role.VIEWER)
@blueprint.arguments(schemas.HistoryQuery(), location="query")
@refuses(errors.ServiceNotFound, errors.InvalidField)
@blueprint.response(200, schemas.History())
def show_history(asked: Json, service_id: str) -> Json:
    """Show the states of a service, newest first, each with its reason"""
    found = query.events(context.core().serving, **_named(service_id), limit=asked["limit"])
    return {"events": [schemas.event(moved) for moved in found]}


@blueprint.route("/services/<service_id>", methods=["PATCH"], needs=Role.OPERATOR)
@blueprint.arguments(schemas.UpdateIn(), examples=schemas.UPDATE_EXAMPLES)
@refuses(
    *READING,
    errors.ServiceNotFound,
    errors.ModelNotFound,
    errors.ModelRunsCode,
    errors.WrongState,
    errors.QuotaExceeded,
    errors.NoRoom,
)
@blueprint.response(200, schemas.ServiceShown())
def update_service(changes: Json, service_id: str) -> Json:
    """Change some of a service's config, or the version of its model

    Running replicas are replaced one by one, each when its successor has loaded; no task is refused or lost.
    """
    if not changes:
        raise errors.InvalidField("The body must hold `config`, `model_id`, or both.", field="config")
    config = changes.get("config", {})
    require_admin_for_code(config.get("allow_code") is True)
    model_id = changes.get("model_id")
    if model_id is not None:
        context.known_form(model_id, errors.ModelNotFound, "model")
    serving = context.core().serving
    context.known_form(service_id, errors.ServiceNotFound, "service")
    pool_quota.require_for_change(service_id, config, config_defaults())
    control.update(serving, **_named(service_id), config_changes=config, model_id=model_id, defaults=config_defaults())
    return schemas.full(query.describe(serving, **_named(service_id)))


@blueprint.route("/services/<service_id>", methods=["DELETE"], needs=Role.OPERATOR)
@refuses(errors.ServiceNotFound, errors.WrongState, errors.InUse)
@blueprint.response(204)
def delete_service(service_id: str) -> None:
    """Delete a stopped service with its tasks"""
    control.delete(context.core().serving, **_named(service_id))


@blueprint.route("/services/<service_id>/start", methods=["POST"], needs=Role.OPERATOR)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.ServiceNotFound, errors.WrongState, errors.QuotaExceeded)
@blueprint.response(200, schemas.Started())
def start_service(_: Json, service_id: str) -> Json:
    """Start a service; it is `running` when its first replica is ready"""
    named = _named(service_id)
    pool_quota.require_for_start(service_id)
    service = control.start(context.core().serving, **named)
    at = clock.iso(service.started_at)
    return {"service_id": service.id, "status": service.state.value, "started_at": at}


@blueprint.route("/services/<service_id>/stop", methods=["POST"], needs=Role.OPERATOR)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.ServiceNotFound, errors.WrongState)
@blueprint.response(200, schemas.Stopped())
def stop_service(_: Json, service_id: str) -> Json:
    """Stop a service; running batches are finished, waiting tasks stay"""
    service = control.stop(context.core().serving, **_named(service_id))
    at = clock.iso(service.stopped_at)
    return {"service_id": service.id, "status": service.state.value, "stopped_at": at}


@blueprint.route("/services/<service_id>/restart", methods=["POST"], needs=Role.OPERATOR)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.ServiceNotFound, errors.WrongState, errors.QuotaExceeded)
@blueprint.response(200, schemas.Started())
def restart_service(_: Json, service_id: str) -> Json:
    """Replace the replicas one by one; start the service when it does not run"""
    named = _named(service_id)
    pool_quota.require_for_start(service_id)
    service = control.restart(context.core().serving, **named)
    at = clock.iso(service.updated_at)
    return {"service_id": service.id, "status": service.state.value, "started_at": at}


@blueprint.route("/services/<service_id>/scale", methods=["POST"], needs=Role.OPERATOR)
@blueprint.arguments(schemas.ScaleIn(), example={"replicas": 2})
@refuses(*READING, errors.ServiceNotFound, errors.WrongState, errors.QuotaExceeded, errors.NoRoom)
@blueprint.response(200, schemas.Scaled())
def scale_service(size: Json, service_id: str) -> Json:
    """Set how many replicas a service has, and how many instances each"""
    named = _named(service_id)
    pool_quota.require_for_scale(service_id, size["replicas"])
    service = control.scale(context.core().serving, **named, **size)
    return {
        "service_id": service.id,
        "status": service.state.value,
        "replicas": service.config.replicas,
        "instances": service.config.instances,
        "scaled_at": clock.iso(service.scaled_at),
    }
