"""Uploads: large files, streamed to the artefact store."""

from typing import Any, BinaryIO, cast

from flask import request

from api import context
from api.blueprint import Blueprint
from api.documented import refuses
from api.schemas import models as schemas
from inference import errors
from inference.access.model import Role
from inference.registry import uploads

blueprint = Blueprint("uploads", __name__, description="Models and large inputs, sent as they are")

FILE = {"type": "string", "format": "binary", "minLength": 1}


@blueprint.route("/uploads", methods=["POST"], needs=Role.SUBMITTER)
@blueprint.doc(requestBody={"required": True, "content": {"application/octet-stream": {"schema": FILE}}})
@refuses(errors.TooLarge, errors.NoRoom, errors.InvalidField, errors.QuotaExceeded)
@blueprint.response(201, schemas.Uploaded())
def upload() -> dict[str, Any]:
    """Upload a file

    The body is the file itself. Use it as `upload:<upload_id>`: a `model_path`, or the `input_ref` of a task.
    """
    core, tenant_id = context.core(), context.tenant_id()
    limit, length = core.settings.registry.upload_limit_bytes, request.content_length
    if length is not None and length > limit:
        raise errors.TooLarge(
            f"The file is {length} bytes; at most {limit} are accepted.", limit_bytes=limit, size_bytes=length
        )
    stream = cast(BinaryIO, request.stream)
    upload_id = uploads.receive(core.registry, tenant_id=tenant_id, stream=stream, by=context.principal())
    blob = core.registry.uploads.get(tenant_id, upload_id)
    return {"upload_id": upload_id, "sha256": blob.key, "size_bytes": blob.size_bytes}
