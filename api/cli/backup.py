"""`penstock backup` and `penstock restore`: the configuration, kept and brought back."""

import json
import os
from pathlib import Path
from typing import Any

import click

from api.cli.access_call import AccessCall, shared
from api.cli.output import fields, rows_of, say, table

BACKUPS = {
    "backup_id": "ID",
    "made_at": "MADE",
    "origin": "ORIGIN",
    "tenant_id": "TENANT",
    "size_bytes": "BYTES",
    "objects": "OBJECTS",
}
STEPS = {"action": "ACTION", "section": "OF", "name": "NAME", "field": "FIELD", "from": "NOW", "to": "THEN"}
_tenant = click.option("--tenant", "of_tenant", default=None, help="Of this tenant alone.")


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the archive to this file, too.")
@click.option("--with-keys", is_flag=True, help="With the digests of API keys, for a restore on another system.")
@_tenant
@shared
def backup(call: AccessCall, out: Path | None, with_keys: bool) -> None:
    """Take a snapshot of the configuration.

    Tenants, models' metadata, services, alert rules, report schedules, budgets, prices and keys; no artefact, no task,
    no secret. Works on the database itself, also while nothing runs; with --url it asks a running server."""
    body: dict[str, Any] = {"with_keys": with_keys}
    if call.tenant_id is not None:
        body["tenant_id"] = call.tenant_id
    made = call.asked.create_backup(body)
    if out is not None:
        _write(out, call.asked.backup_content(made["backup_id"]))
    call.answer(made, fields)


@click.group()
def backups() -> None:
    """List, download and delete backups."""


@backups.command("list")
@shared
def list_backups(call: AccessCall) -> None:
    """List the backups that are kept, newest first."""
    page = call.asked.backups(limit=1000)
    rows = [
        {**one, "objects": ", ".join(f"{count} {name}" for name, count in one["objects"].items() if count)}
        for one in rows_of(page, "backups")
    ]
    call.answer(page, lambda _: table(BACKUPS, rows, nothing="No backup."))


@backups.command()
@click.argument("backup_id", metavar="ID")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@shared
def download(call: AccessCall, backup_id: str, file: Path) -> None:
    """Write the archive of the backup ID to FILE."""
    _write(file, call.asked.backup_content(backup_id))
    call.answer({"backup_id": backup_id, "file": str(file)}, fields)


@backups.command()
@click.argument("backup_id", metavar="ID")
@shared
def delete(call: AccessCall, backup_id: str) -> None:
    """Delete the backup ID."""
    call.asked.delete_backup(backup_id)
    if call.is_json:
        call.answer({"backup_id": backup_id})
    else:
        say(f"The backup {backup_id} is deleted.")


@click.command()
@click.argument("source", metavar="ID_OR_FILE")
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this it is only tried.")
@click.option("--skip-refused", is_flag=True, help="Restore all others although some objects cannot be.")
@click.option("--all", "shows_all", is_flag=True, help="List unchanged objects, too.")
@_tenant
@shared
def restore(call: AccessCall, source: str, is_applied: bool, skip_refused: bool, shows_all: bool) -> None:
    """Bring the configuration back to a backup, by its id or from a file.

    Without --apply it says what would change, field by field. All or nothing, in one transaction; what the backup does
    not hold stays; nothing is deleted, started or stopped."""
    backup_id, is_file = source, Path(source).exists()
    if is_file:
        backup_id = call.asked.create_backup({"archive": _read(Path(source))})["backup_id"]
    asked = {"dry_run": not is_applied, "skip_refused": skip_refused, "all": shows_all, "tenant_id": call.tenant_id}
    try:
        done = call.asked.restore_backup(backup_id, **asked)
    finally:
        if is_file and not is_applied:
            call.asked.delete_backup(backup_id)
    call.answer(done, _show)


def _show(done: dict[str, Any]) -> None:
    rows = []
    for one in done["objects"]:
        first = {"action": one["action"], "section": one["section"], "name": one["name"]}
        if one["reason"]:
            rows.append({**first, "field": one["field"], "to": one["reason"]})
        for at, change in enumerate(one["changes"]):
            told = {"field": change["field"], **{name: _told(change[name]) for name in ("from", "to")}}
            rows.append({**(first if at == 0 else {}), **told})
        if not one["changes"] and not one["reason"]:
            rows.append(first)
    table(STEPS, rows, nothing="Nothing would change." if done["dry_run"] else "Nothing was to change.")
    say(", ".join(f"{count} {action}" for action, count in done["counts"].items() if count) or "The backup is empty.")
    if done["dry_run"]:
        say("This was tried, not done: add --apply to do it.")


def _told(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"{path} is no archive of Penstock: {error}", param_hint="ID_OR_FILE") from error


def _write(path: Path, content: bytes) -> None:
    """For its owner alone: it may hold addresses of webhooks, which are secrets to some."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise click.BadParameter(f"the file cannot be written: {error.strerror}", param_hint="--out") from error
