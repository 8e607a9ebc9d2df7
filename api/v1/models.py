"""Models: register, list, show, compare, deprecate, delete."""

from typing import Any

from api import context, paging
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import models as schemas
from api.schemas.common import EmptyIn
from inference import errors
from inference.registry import control, query
from inference.registry import register as registration

blueprint = Blueprint("models", __name__, description="Model versions: what services run")

Json = dict[str, Any]


@blueprint.route("/models/register", methods=["POST"])
@blueprint.arguments(schemas.RegisterIn(), example=schemas.REGISTER_EXAMPLE)
@refuses(
    *READING,
    errors.ModelInvalid,
    errors.ModelPathRefused,
    errors.UploadNotFound,
    errors.VersionExists,
    errors.TooLarge,
    errors.NoRoom,
)
@blueprint.response(201, schemas.Registered(), example=schemas.REGISTERED_EXAMPLE)
def register(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Register a model version

    The file is copied into the artefact store, loaded in a limited process and tried once before the answer.
    """
    model = registration.register(context.core().registry, tenant_id=context.tenant_id(), **wanted)
    return schemas.registered(model), 201, {"Location": f"/v1/models/{model.id}"}


@blueprint.route("/models")
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


@blueprint.route("/models/<model_id>")
@refuses(errors.ModelNotFound)
@blueprint.response(200, schemas.ModelShown())
def show_model(model_id: str) -> Json:
    """Show a model version: its signature, hash, size and what was said of it"""
    return schemas.shown(query.get(context.core().registry, **_named(model_id)))


@blueprint.route("/models/<model_id>/diff")
@blueprint.arguments(schemas.DiffQuery(), location="query")
@refuses(errors.ModelNotFound, errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.ModelDiff())
def diff_models(asked: Json, model_id: str) -> Json:
    """Show what changed from this model version to another"""
    other_id = context.known_form(asked["other"], errors.ModelNotFound, "model")
    return query.diff(context.core().registry, **_named(model_id), other_id=other_id)


@blueprint.route("/models/<model_id>/deprecate", methods=["POST"])
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.ModelNotFound)
@blueprint.response(200, schemas.Registered())
def deprecate_model(_: Json, model_id: str) -> Json:
    """Take a model version out of use for new services; running ones go on"""
    return schemas.registered(control.deprecate(context.core().registry, **_named(model_id)))


@blueprint.route("/models/<model_id>", methods=["DELETE"])
@refuses(errors.ModelNotFound, errors.InUse)
@blueprint.response(204)
def delete_model(model_id: str) -> None:
    """Delete a model version that no service or deployment names"""
    control.delete(context.core().registry, **_named(model_id))
