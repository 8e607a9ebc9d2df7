"""Models: register, list, show, compare, deprecate, delete."""

from typing import Any

from api import context, paging
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import models as schemas
from api.schemas.common import EmptyIn
from inference import errors
from inference.access.model import Reach, Role
from inference.registry import control, query, source
from inference.registry import register as registration

blueprint = Blueprint("models", __name__, description="Model versions: what services run")

Json = dict[str, Any]


def require_admin_for_code(is_wanted: bool) -> None:
    """Returns unless a caller who is not an admin wants a model to run code. Raises RoleTooLow."""
    role = context.principal().role
    if is_wanted and not role.includes(Role.ADMIN):
        raise errors.RoleTooLow(
            f"Only an admin may allow a model to run code (allow_code); the key has the role {role.value}.",
            role=role.value,
            needed=Role.ADMIN.value,
        )


def require_own_file(model_path: str) -> None:
    """Returns unless the holder of a key names a file of this machine, and no folder was opened for that.

    Whoever may ask on an open system may read this machine's files anyway; a key may be anybody's. Raises
    ModelPathRefused.
    """
    if context.core().settings.registry.model_roots or context.principal().key_id is None:
        return
    if source.read(model_path).path is not None:
        raise errors.ModelPathRefused(
            "With keys in use, model_path names an upload (POST /v1/uploads, then upload:<upload_id>); to let it name "
            "files of the API's machine, list their folders in PENSTOCK_REGISTRY__MODEL_ROOTS.",
            field="model_path",
            model_path=model_path[:200],
        )


@blueprint.route("/models/register", methods=["POST"], needs=Role.OPERATOR, reach=Reach.WORKSPACE)
@blueprint.arguments(schemas.RegisterIn(), example=schemas.REGISTER_EXAMPLE)
@refuses(
    *READING,
    errors.ModelInvalid,
    errors.ModelRunsCode,
    errors.ModelPathRefused,
    errors.UploadNotFound,
    errors.VersionExists,
    errors.TooLarge,
    errors.QuotaExceeded,
    errors.NoRoom,
)
@blueprint.response(201, schemas.Registered(), example=schemas.REGISTERED_EXAMPLE)
def register(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Register a model version

    The file is copied into the artefact store, loaded in a limited process and tried once before the answer.
    One that runs code when it is loaded is refused, unless an admin says `allow_code`.
    """
    require_admin_for_code(wanted["allow_code"])
    require_own_file(wanted["model_path"])
    model = registration.register(
        context.core().registry, tenant_id=context.tenant_id(), by=context.principal(), **wanted
    )
    return schemas.registered(model), 201, {"Location": f"/v1/models/{model.id}"}


@blueprint.route("/models", needs=Role.VIEWER, reach=Reach.WORKSPACE)
@blueprint.arguments(schemas.ModelQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.ModelPage())
def list_models(asked: Json) -> Json:
    """List model versions, newest first"""
    limit: int = asked["limit"]
    found = query.find(
        context.core().registry,
        tenant_id=context.tenant_id(),
        name=asked["name"],
        limit=limit + 1,
        before_id=paging.before(asked["cursor"]),
    )
    return paging.page("models", found, limit, lambda model: model.id, schemas.shown)


def _named(model_id: str) -> Json:
    context.known_form(model_id, errors.ModelNotFound, "model")
    return {"tenant_id": context.tenant_id(), "model_id": model_id}


@blueprint.route("/models/<model_id>", needs=Role.VIEWER, reach=Reach.WORKSPACE)
@refuses(errors.ModelNotFound)
@blueprint.response(200, schemas.ModelShown())
def show_model(model_id: str) -> Json:
    """Show a model version: its signature, hash, size and what was said of it"""
    return schemas.shown(query.get(context.core().registry, **_named(model_id)))


@blueprint.route("/models/<model_id>/diff", needs=Role.VIEWER, reach=Reach.WORKSPACE)
@blueprint.arguments(schemas.DiffQuery(), location="query")
@refuses(errors.ModelNotFound, errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.ModelDiff())
def diff_models(asked: Json, model_id: str) -> Json:
    """Show what changed from this model version to another"""
    other_id = context.known_form(asked["other"], errors.ModelNotFound, "model")
    return query.diff(context.core().registry, **_named(model_id), other_id=other_id)


@blueprint.route("/models/<model_id>/deprecate", methods=["POST"], needs=Role.OPERATOR, reach=Reach.WORKSPACE)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.ModelNotFound)
@blueprint.response(200, schemas.Registered())
def deprecate_model(_: Json, model_id: str) -> Json:
    """Take a model version out of use for new services; running ones go on"""
    return schemas.registered(control.deprecate(context.core().registry, **_named(model_id)))


@blueprint.route("/models/<model_id>", methods=["DELETE"], needs=Role.OPERATOR, reach=Reach.WORKSPACE)
@refuses(errors.ModelNotFound, errors.InUse)
@blueprint.response(204)
def delete_model(model_id: str) -> None:
    """Delete a model version that no service or deployment names"""
    control.delete(context.core().registry, **_named(model_id), seen_by=context.scope())
