"""Snapshots of the configuration on the wire, and what a restore does with each object."""

from collections.abc import Sequence
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import AN_ID, Flag, PageIn, Text, id_field, next_field, time_field
from inference import clock
from inference.access.checks import TENANT_ID
from inference.backup.model import Action, Origin, Snapshot, Step

BACKUP_EXAMPLE = {
    "backup_id": AN_ID,
    "tenant_id": None,
    "origin": "scheduled",
    "made_at": "2026-11-20T06:30:00.123456Z",
    "size_bytes": 48_211,
    "objects": {"tenants": 2, "models": 12, "services": 9, "alert_rules": 4, "budgets": 2, "prices": 1, "keys": 7},
}


class BackupIn(ma.Schema):
    """Without anything: a snapshot of what the caller's key covers."""

    limit_bytes = 256 << 20
    tenant_id = Text(
        load_default=None,
        metadata={"description": "System keys only: of this tenant alone", "pattern": f"^{TENANT_ID}$"},
    )
    with_keys = Flag(
        load_default=False,
        metadata={"description": "With the digests of API keys, so that a restore elsewhere brings the keys back"},
    )
    archive = fields.Dict(
        keys=fields.String(),
        load_default=None,
        metadata={"description": "System keys only: keep this archive of another system instead of a new one"},
    )


class RestoreQuery(ma.Schema):
    tenant_id = Text(
        load_default=None,
        metadata={"description": "Only the objects of this tenant; system keys only", "pattern": f"^{TENANT_ID}$"},
    )
    dry_run = fields.Boolean(
        load_default=True,
        truthy={"true"},
        falsy={"false"},
        metadata={"description": "Only say what would change"},
    )
    skip_refused = fields.Boolean(
        load_default=False,
        truthy={"true"},
        falsy={"false"},
        metadata={"description": "Restore all others although some objects cannot be"},
    )
    all = fields.Boolean(
        load_default=False, truthy={"true"}, falsy={"false"}, metadata={"description": "List unchanged objects, too"}
    )


class BackupQuery(PageIn):
    """Newest first."""


class BackupShown(ma.Schema):
    backup_id = id_field("The backup")
    tenant_id = fields.String(allow_none=True, metadata={"description": "Null: of the whole system"})
    origin = fields.String(validate=validate.OneOf([one.value for one in Origin]))
    made_at = time_field("When it was taken, or taken in", nullable=False)
    size_bytes = fields.Integer(metadata={"description": "Of its archive"})
    objects = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata={"description": "How many it holds, by section"}
    )


class BackupPage(ma.Schema):
    backups = fields.List(fields.Nested(BackupShown()))
    next = next_field()


class FieldChange(ma.Schema):
    field = fields.String(metadata={"example": "config.replicas"})
    from_ = fields.Raw(data_key="from", allow_none=True, metadata={"description": "What it is now"})
    to = fields.Raw(allow_none=True, metadata={"description": "What the backup says"})


class StepShown(ma.Schema):
    section = fields.String(metadata={"example": "services"})
    action = fields.String(validate=validate.OneOf([one.value for one in Action]))
    object_id = fields.String()
    name = fields.String()
    tenant_id = fields.String(allow_none=True)
    changes = fields.List(fields.Nested(FieldChange()))
    field = fields.String(allow_none=True, metadata={"description": "Of what was refused: where it is wrong"})
    reason = fields.String(allow_none=True, metadata={"description": "Why it was refused or skipped"})


class Restored(ma.Schema):
    """Nothing is ever deleted, started or stopped by a restore."""

    backup_id = id_field("The backup")
    dry_run = fields.Boolean()
    counts = fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": "By action"})
    objects = fields.List(fields.Nested(StepShown()))


def backup(one: Snapshot) -> dict[str, Any]:
    return {
        "backup_id": one.id,
        "tenant_id": one.tenant_id or None,
        "origin": one.origin.value,
        "made_at": clock.iso(one.made_at),
        "size_bytes": one.size_bytes,
        "objects": dict(one.objects),
    }


def restored(backup_id: str, steps: Sequence[Step], *, is_dry: bool, shows_all: bool) -> dict[str, Any]:
    shown = [step for step in steps if shows_all or step.action is not Action.UNCHANGED]
    return {
        "backup_id": backup_id,
        "dry_run": is_dry,
        "counts": {action.value: sum(step.action is action for step in steps) for action in Action},
        "objects": [_step(one) for one in shown],
    }


def _step(one: Step) -> dict[str, Any]:
    return {
        "section": one.section,
        "action": one.action.value,
        "object_id": one.id,
        "name": one.name,
        "tenant_id": one.tenant_id or None,
        "changes": [{"field": each.field, "from_": each.before, "to": each.after} for each in one.changes],
        "field": one.field,
        "reason": one.reason,
    }
