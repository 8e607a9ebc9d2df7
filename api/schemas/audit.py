"""The audit record on the wire: what is asked of it, and how it is shown."""

import re
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, PageIn, Text
from inference.access.audit import Soundness
from inference.access.checks import TENANT_ID
from inference.clock import ISO_FORM
from inference.errors import InvalidField

CURSOR = "[1-9][0-9]{0,17}"
HASH_PATTERN = "^[0-9a-f]{64}$"
FORMATS = ("jsonl", "csv")

RECORD_EXAMPLE = {
    "seq": 7,
    "at": A_TIME,
    "tenant_id": "default",
    "actor_kind": "key",
    "actor_id": "0b51e3c2a9d4",
    "actor_name": "line 3",
    "address": "192.0.2.7",
    "operation": f"POST /api/v1/inference/services/{AN_ID}/start",
    "action": "service.start",
    "object_kind": "service",
    "object_id": AN_ID,
    "before": {"state": "pending"},
    "after": {"state": "deploying"},
    "previous_hash": "0" * 64,
    "hash": "1" * 64,
}
SOUND_EXAMPLE = {"is_sound": True, "records": 7, "head": "1" * 64}


def _time_in(description: str, name: str) -> fields.String:
    metadata = {"description": description, "pattern": f"^{ISO_FORM}$"}
    return fields.String(load_default=None, data_key=name, metadata=metadata)


def _tenant_in() -> Text:
    description = "Only of this tenant; system keys read those of all, others their own tenant's"
    return Text(load_default=None, metadata={"description": description, "pattern": f"^{TENANT_ID}$"})


def _text_in(description: str, example: str) -> Text:
    return Text(load_default=None, metadata={"description": description, "example": example})


class AuditQuery(PageIn):
    """Filters of the audit record."""

    action = _text_in("What was done", "service.start")
    actor = _text_in("The id of the key that did it", "0b51e3c2a9d4")
    object_kind = _text_in("service, model, upload, deployment, key, tenant or job", "service")
    object_id = _text_in("The id of what was changed", AN_ID)
    from_ = _time_in("ISO 8601; at or after", "from")
    to = _time_in("ISO 8601; before", "to")
    tenant_id = _tenant_in()
    cursor = fields.String(
        load_default=None, metadata={"description": "`next` of the page before", "pattern": f"^{CURSOR}$"}
    )


class ExportQuery(ma.Schema):
    """What to export."""

    format = fields.String(load_default="jsonl", validate=validate.OneOf(FORMATS, error="It must be one of {choices}."))
    from_ = _time_in("ISO 8601; at or after", "from")
    to = _time_in("ISO 8601; before", "to")
    tenant_id = _tenant_in()


class Record(ma.Schema):
    """One act that changed something."""

    seq = fields.Integer(required=True, metadata={"description": "1, 2, 3 and so on, without gap", "minimum": 1})
    at = fields.String(required=True, metadata={"format": "date-time", "example": A_TIME})
    tenant_id = fields.String(required=True, metadata={"description": "Whose thing was changed"})
    actor_kind = fields.String(required=True, metadata={"description": "key, open (no keys yet), cli or alert"})
    actor_id = fields.String(required=True, metadata={"description": "The key's id, or the system's user"})
    actor_name = fields.String(required=True)
    address = fields.String(required=True, metadata={"description": "Where the call came from"})
    operation = fields.String(required=True, metadata={"description": "Method and path, or the command"})
    action = fields.String(required=True, metadata={"example": "service.start"})
    object_kind = fields.String(required=True, metadata={"example": "service"})
    object_id = fields.String(required=True)
    before = fields.Dict(required=True, metadata={"description": "Of what changed, how it was; {} for a new thing"})
    after = fields.Dict(required=True, metadata={"description": "How it is now; {} for what is gone"})
    previous_hash = fields.String(
        required=True, metadata={"description": "`hash` of record seq - 1; empty for the first"}
    )
    hash = fields.String(
        required=True, metadata={"description": "SHA-256; docs/audit.md says of what", "pattern": HASH_PATTERN}
    )


class RecordPage(ma.Schema):
    records = fields.List(fields.Nested(Record()), required=True)
    next = fields.String(
        metadata={"description": "Cursor of the next page; absent on the last", "pattern": f"^{CURSOR}$"}
    )


class Broken(ma.Schema):
    seq = fields.Integer(required=True, metadata={"description": "The first record that is not as it was written"})
    message = fields.String(required=True, metadata={"example": "Record 5 is missing."})


class Verified(ma.Schema):
    is_sound = fields.Boolean(required=True)
    records = fields.Integer(required=True, metadata={"description": "How many hold, from the first on"})
    head = fields.String(required=True, metadata={"description": "Hash of the last of them; keep it elsewhere"})
    broken = fields.Nested(Broken(), metadata={"description": "Only when the record is not sound"})


def before_seq(cursor: str | None) -> int | None:
    """The sequence number that a cursor stands for. Raises InvalidField for a text that `next` never was."""
    if cursor is None:
        return None
    if not re.fullmatch(CURSOR, cursor):
        raise InvalidField("The query parameter `cursor` must be a `next` from an earlier answer.", field="cursor")
    return int(cursor)


def verified(found: Soundness) -> dict[str, Any]:
    answer: dict[str, Any] = {"is_sound": found.is_sound, "records": found.records, "head": found.head}
    if found.broken is not None:
        answer["broken"] = {"seq": found.broken.seq, "message": found.broken.message}
    return answer
