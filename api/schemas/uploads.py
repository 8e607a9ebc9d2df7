"""Uploads on the wire."""

import base64
import binascii
import re
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, PageIn, QueryNumber, id_field, next_field, time_field
from inference import clock
from inference.errors import InvalidField
from inference.ranges import CENTURY_S
from inference.registry.ports import Upload

DIGEST, PLAIN_DIGEST = "Content-Digest", "X-Content-SHA256"
UPLOAD_EXAMPLE = {
    "upload_id": AN_ID,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 31_457_280,
    "created_at": A_TIME,
    "expires_at": "2026-11-27T06:30:00.123456Z",
}
DIGEST_HEADERS = [
    {
        "in": "header",
        "name": DIGEST,
        "required": False,
        "schema": {"type": "string", "example": "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:"},
        "description": "Its SHA-256 (RFC 9530; other algorithms are passed over); a body that has another one is "
        "refused, and nothing of it kept",
    },
    {
        "in": "header",
        "name": PLAIN_DIGEST,
        "required": False,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "description": "The same in hex, as `sha256sum` prints it",
    },
]

_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):\s*(?:,|$)")
_HEX = re.compile("[0-9a-f]{64}")


class UploadIn(ma.Schema):
    """What an upload may say of itself."""

    expires_in_s = QueryNumber(
        load_default=None,
        validate=validate.Range(1, CENTURY_S, error="It must be seconds, 1 or more."),
        metadata={"description": "It goes after so long; default, and at most: what the server is set to (7 days)"},
    )


class UploadShown(ma.Schema):
    upload_id = id_field("Use it as `upload:<upload_id>`")
    sha256 = fields.String(metadata={"description": "Of the content, in hex"})
    size_bytes = fields.Integer()
    created_at = time_field("When it was complete", nullable=False)
    expires_at = time_field("When it goes; null for never")


class UploadPage(ma.Schema):
    uploads = fields.List(fields.Nested(UploadShown()))
    next = next_field()


class UploadQuery(PageIn): ...


def shown(upload: Upload) -> dict[str, Any]:
    return {
        "upload_id": upload.id,
        "sha256": upload.key,
        "size_bytes": upload.size_bytes,
        "created_at": clock.iso(upload.created_at),
        "expires_at": clock.iso(upload.expires_at),
    }


def digest(structured: str | None, plain: str | None) -> str | None:
    """The SHA-256, in hex, that the client says the body has; None if it does not. Raises InvalidField.

    Of a Content-Digest (`structured`) other algorithms are passed over, as RFC 9530 says.
    """
    if plain is not None and not _HEX.fullmatch(plain.lower()):
        raise InvalidField(f"The header {PLAIN_DIGEST} must be a SHA-256 in hex, 64 digits.", field=PLAIN_DIGEST)
    found = _SHA256.search(structured or "")
    if found is None:
        return None if plain is None else plain.lower()
    try:
        raw = base64.b64decode(found.group(1), validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise InvalidField(f"The header {DIGEST} must be sha-256=:BASE64: of 32 bytes.", field=DIGEST)
    if plain is not None and plain.lower() != raw.hex():
        raise InvalidField(f"The headers {DIGEST} and {PLAIN_DIGEST} do not say the same.", field=PLAIN_DIGEST)
    return raw.hex()
