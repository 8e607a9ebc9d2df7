"""Uploads: large files, streamed to the artefact store; listed, read and deleted."""

from typing import Any, BinaryIO, cast

from flask import Response, request

from api import context, filed, paging
from api.blueprint import Blueprint
from api.documented import refuses
from api.schemas import uploads as schemas
from inference import errors
from inference.access.model import Reach, Role
from inference.registry import uploads

blueprint = Blueprint("uploads", __name__, description="Models and large inputs, sent as they are")

BINARY = "application/octet-stream"
FILE = {"type": "string", "format": "binary", "minLength": 1}

Json = dict[str, Any]


@blueprint.route("/uploads", methods=["POST"], needs=Role.SUBMITTER)
@blueprint.arguments(schemas.UploadIn(), location="query")
@blueprint.doc(
    requestBody={"required": True, "content": {BINARY: {"schema": FILE}}},
    parameters=schemas.DIGEST_HEADERS,
)
@refuses(
    errors.TooLarge,
    errors.NoRoom,
    errors.InvalidField,
    errors.UnknownField,
    errors.DigestMismatch,
    errors.QuotaExceeded,
    errors.Unavailable,
)
@blueprint.response(201, schemas.UploadShown(), example=schemas.UPLOAD_EXAMPLE)
def upload(asked: Json) -> tuple[Json, int, dict[str, str]]:
    """Upload a file

    The body is the file itself. Use it as `upload:<upload_id>`: a `model_path`, or the `input_ref` of a task.
    """
    core, tenant_id = context.core(), context.tenant_id()
    limit, length = core.settings.registry.upload_limit_bytes, request.content_length
    if length is not None and length > limit:
        raise errors.TooLarge(
            f"The file is {length} bytes; at most {limit} are accepted.", limit_bytes=limit, size_bytes=length
        )
    received = uploads.receive(
        core.registry,
        tenant_id=tenant_id,
        stream=cast(BinaryIO, request.stream),
        by=context.principal(),
        sha256=schemas.digest(request.headers.get(schemas.DIGEST), request.headers.get(schemas.PLAIN_DIGEST)),
        keep_s=_life(asked["expires_in_s"], core.settings.inputs.keep_s),
    )
    return schemas.shown(received), 201, {"Location": f"{context.BASE}/uploads/{received.id}"}


@blueprint.route("/uploads", needs=Role.SUBMITTER, reach=Reach.WORKSPACE)
@blueprint.arguments(schemas.UploadQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.UploadPage())
def list_uploads(asked: Json) -> Json:
    """List uploads, newest first"""
    limit: int = asked["limit"]
    found = uploads.find(
        context.core().registry,
        tenant_id=context.tenant_id(),
        limit=limit + 1,
        before_id=paging.before(asked["cursor"]),
    )
    return paging.page("uploads", found, limit, lambda upload: upload.id, schemas.shown)


@blueprint.route("/uploads/<upload_id>", needs=Role.SUBMITTER, reach=Reach.WORKSPACE)
@refuses(errors.UploadNotFound)
@blueprint.response(200, schemas.UploadShown(), example=schemas.UPLOAD_EXAMPLE)
def show_upload(upload_id: str) -> Json:
    """Show an upload: its size, its hash, and when it goes"""
    return schemas.shown(uploads.get(context.core().registry, tenant_id=context.tenant_id(), upload_id=upload_id))


@blueprint.route("/uploads/<upload_id>/content", needs=Role.SUBMITTER, reach=Reach.WORKSPACE)
@refuses(errors.UploadNotFound)
@blueprint.doc(responses={"200": {"description": "The file, as it was sent", "content": {BINARY: {"schema": FILE}}}})
def read_upload(upload_id: str) -> Response:
    """Get the file, whole or in parts (`Range`)"""
    registry = context.core().registry
    found = uploads.get(registry, tenant_id=context.tenant_id(), upload_id=upload_id)
    try:
        path = registry.blobs.path(found.key)
        return filed.answer(path, sha256=found.key, size_bytes=found.size_bytes, content_type=BINARY)
    except (errors.NotFound, FileNotFoundError) as error:
        raise errors.UploadNotFound(
            f"The file of upload {upload_id} is not in the blob store of this host.", upload_id=upload_id
        ) from error


@blueprint.route("/uploads/<upload_id>", methods=["DELETE"], needs=Role.SUBMITTER, reach=Reach.WORKSPACE)
@refuses(errors.UploadNotFound)
@blueprint.response(204)
def delete_upload(upload_id: str) -> None:
    """Delete an upload; models and tasks that were made of it keep what they need"""
    uploads.delete(context.core().registry, tenant_id=context.tenant_id(), upload_id=upload_id)


def _life(asked_s: float | None, most_s: float) -> float | None:
    """None: the default. Raises InvalidField for more than that."""
    if asked_s is not None and 0 < most_s < asked_s:
        raise errors.InvalidField(f"`expires_in_s` may be at most {most_s:g} seconds here.", field="expires_in_s")
    return asked_s
