"""Backups of the configuration: take, list, download, restore, delete."""

from typing import Any

from flask import Response, request

from api import context, paging
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.errors import JSON
from api.schemas import backups as schemas
from api.schemas.common import EmptyIn
from inference import errors
from inference.access import audit
from inference.access.model import Reach, Role
from inference.backup import archive, make
from inference.backup.restore import restore

blueprint = Blueprint("backups", __name__, description="Snapshots of the configuration, and the way back to one")

Json = dict[str, Any]


def _whose() -> str | None:
    """Whose backups the caller sees: those of its tenant, or, with a system key, all."""
    by = context.principal()
    return None if by.reach is Reach.SYSTEM else by.scope.tenant_id


@blueprint.route("/backups", methods=["POST"], needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.arguments(schemas.BackupIn(), required=False, example={"with_keys": False})
@refuses(*READING, errors.TenantNotFound, errors.ScopeTooNarrow, errors.ArchiveInvalid)
@blueprint.response(201, schemas.BackupShown(), example=schemas.BACKUP_EXAMPLE)
def create_backup(wanted: Json) -> tuple[Json, int, dict[str, str]]:
    """Take a snapshot of the configuration: of the whole system with a system key, else of the caller's tenant

    Or keep an archive that was taken elsewhere, to restore it here.
    """
    by, ports = context.principal(), context.core().backup
    if wanted["archive"] is not None:
        if by.reach is not Reach.SYSTEM:
            raise errors.ScopeTooNarrow(
                "Only a system key brings in an archive from elsewhere.", reach="tenant", needed="system"
            )
        made = make.take_in(ports, archive.of_object(wanted["archive"]))
    else:
        tenant_id = audit.tenant_for(by, wanted["tenant_id"]) or ""
        made = make.make(ports, tenant_id=tenant_id, with_keys=wanted["with_keys"])
    return schemas.backup(made), 201, {"Location": f"{request.path.rstrip('/')}/{made.id}/content"}


@blueprint.route("/backups", needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.arguments(schemas.BackupQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.BackupPage())
def list_backups(asked: Json) -> Json:
    """List the backups that are kept, newest first"""
    limit: int = asked["limit"]
    found = context.core().backup.snapshots.list(_whose(), limit=limit + 1, before_id=paging.before(asked["cursor"]))
    return paging.page("backups", found, limit, lambda one: one.id, schemas.backup)


@blueprint.route("/backups/<backup_id>/content", needs=Role.ADMIN, reach=Reach.TENANT)
@refuses(errors.BackupNotFound)
@blueprint.doc(responses={"200": {"description": "The archive", "content": {JSON: {"schema": {"type": "object"}}}}})
def download_backup(backup_id: str) -> Response:
    """Download the archive of a backup"""
    context.known_form(backup_id, errors.BackupNotFound, "backup")
    content = context.core().backup.snapshots.content(_whose(), backup_id)
    named = {"Content-Disposition": f'attachment; filename="penstock-backup-{backup_id}.json"'}
    return Response(content, content_type=JSON, headers=named)


@blueprint.route("/backups/<backup_id>/restore", methods=["POST"], needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.arguments(EmptyIn(), required=False)
@blueprint.arguments(schemas.RestoreQuery(), location="query")
@refuses(*READING, errors.BackupNotFound, errors.TenantNotFound, errors.ArchiveInvalid, errors.RestoreRefused)
@blueprint.response(200, schemas.Restored())
def restore_backup(_: Json, asked: Json, backup_id: str) -> Json:
    """Restore a backup; unless `dry_run` is false it is only tried, and said what would change

    In one transaction: all or nothing. What the backup does not hold stays as it is.
    """
    context.known_form(backup_id, errors.BackupNotFound, "backup")
    ports = context.core().backup
    tenant_id = audit.tenant_for(context.principal(), asked["tenant_id"])
    steps = restore(
        ports,
        archive.read(ports.snapshots.content(_whose(), backup_id)),
        tenant_id=tenant_id or "",
        is_dry=asked["dry_run"],
        skips_refused=asked["skip_refused"],
        source=backup_id,
    )
    return schemas.restored(backup_id, steps, is_dry=asked["dry_run"], shows_all=asked["all"])


@blueprint.route("/backups/<backup_id>", methods=["DELETE"], needs=Role.ADMIN, reach=Reach.TENANT)
@refuses(errors.BackupNotFound)
@blueprint.response(204)
def delete_backup(backup_id: str) -> None:
    """Delete a backup"""
    context.known_form(backup_id, errors.BackupNotFound, "backup")
    context.core().backup.snapshots.delete(_whose(), backup_id)
