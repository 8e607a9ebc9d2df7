"""`penstock key`: who may come in."""

import sys
from typing import Any

import click

from api.cli.access_call import AccessCall, seconds, shared
from api.cli.output import fields, rows_of, say, table
from inference.access import acting

ROLES = ("viewer", "submitter", "operator", "admin")
COLUMNS = {
    "key_id": "ID",
    "name": "NAME",
    "role": "ROLE",
    "covers": "COVERS",
    "state": "STATE",
    "created_at": "CREATED",
    "expires_at": "EXPIRES",
}
CLOSED = "This is the first key: from now on every process of the system asks for one, within a second."
_tenant = click.option("--tenant", "of_tenant", default=None, help="Of this tenant (default: default).")


@click.group()
def key() -> None:
    """Make, list, rotate and revoke API keys.

    Works on the database itself, also while nothing runs; with --url it asks a running server."""


@key.command()
@click.option("--name", default=None, help="For lists and the audit record.")
@click.option("--role", type=click.Choice(ROLES), default="admin", show_default=True)
@click.option("--service", default=None, help="For this service alone (id or name).")
@click.option("--workspace", default=None, help="For the services of this workspace alone.")
@_tenant
@click.option("--system/--no-system", "is_system", default=None, help="Also for nodes, tenants, audit (admin: yes).")
@click.option("--expires-in", default=None, help="90d, 12h, 30m; without, it does not expire.")
@shared
def create(
    call: AccessCall,
    name: str | None,
    role: str,
    service: str | None,
    workspace: str | None,
    is_system: bool | None,
    expires_in: str | None,
) -> None:
    """Make a key and print it, this once: KEY=$(penstock key create)"""
    body: dict[str, Any] = {"name": name or f"{role} by {acting.local_user()}", "role": role}
    if service is not None:
        body["service_id"] = call.service_id(service)
    if workspace is not None:
        body["workspace_id"] = workspace
    if call.tenant_id is not None:
        body["tenant_id"] = call.tenant_id
    if expires_in is not None:
        body["expires_in_s"] = seconds(expires_in, option="--expires-in")
    covers_all = service is None and workspace is None and call.tenant_id is None
    body["is_system"] = (role == "admin" and covers_all) if is_system is None else is_system
    was_open = call.is_open()
    made = call.asked.create_key(body)
    _show(call, made, f"Key {made['key_id']}: {role}, {covers(made)}. It is shown this once; keep it.")
    if was_open:
        say(CLOSED)


def _show(call: AccessCall, made: dict[str, Any], sentence: str) -> None:
    """The text alone on stdout, so that a shell can take it."""
    if call.is_json:
        call.answer(made)
    else:
        click.echo(made["key"])
    sys.stdout.flush()
    say(sentence)


@key.command("list")
@_tenant
@shared
def list_keys(call: AccessCall) -> None:
    """List the newest keys; never their texts."""
    call.only_by_database()
    page = call.asked.keys(limit=1000)
    rows = [{**row, "covers": covers(row), "state": state(row)} for row in rows_of(page, "keys")]
    call.answer(page, lambda _: table(COLUMNS, rows, nothing="No key yet; make one with `penstock key create`."))


@key.command()
@click.argument("key_id")
@_tenant
@shared
def show(call: AccessCall, key_id: str) -> None:
    """Show the key KEY_ID, without its text."""
    call.only_by_database()
    call.answer(call.asked.key(key_id), fields)


@key.command()
@click.argument("key_id")
@click.option("--overlap", default="24h", show_default=True, help="For how long the old text still opens; 0 for none.")
@_tenant
@shared
def rotate(call: AccessCall, key_id: str, overlap: str) -> None:
    """Give KEY_ID a new text and print it, this once."""
    call.only_by_database()
    made = call.asked.rotate_key(key_id, {"overlap_s": seconds(overlap, option="--overlap")})
    until = made["previous_until"]
    _show(call, made, f"The old text opens until {until}." if until else "The old text opens nothing any more.")


@key.command()
@click.argument("key_id")
@_tenant
@shared
def revoke(call: AccessCall, key_id: str) -> None:
    """Revoke KEY_ID for good; it opens nothing within a second."""
    call.only_by_database()
    call.answer(call.asked.revoke_key(key_id), fields)


def covers(row: dict[str, Any]) -> str:
    """What a key is for, in a few words."""
    if row.get("is_system"):
        return "the whole system"
    if row.get("service_id"):
        return f"service {row['service_id']}"
    if row.get("workspace_id"):
        return f"workspace {row['workspace_id']}"
    return f"tenant {row['tenant_id']}"


def state(row: dict[str, Any]) -> str:
    """`expired` is by this machine's clock."""
    from inference import clock

    if row.get("revoked_at"):
        return "revoked"
    expires_at = row.get("expires_at")
    return "expired" if expires_at and clock.from_iso(expires_at) <= clock.epoch_s() else "active"
