"""`penstock tenant`: customers that see nothing of one another."""

from typing import Any

import click

from api.cli.access_call import AccessCall, shared
from api.cli.asking import read_object
from api.cli.output import fields, rows_of, say, table

COLUMNS = {"tenant_id": "ID", "name": "NAME", "disabled": "DISABLED", "limits": "LIMITS", "created_at": "CREATED"}
_LIMITS = (
    "JSON: requests_per_s, jobs_waiting, bytes_stored, gpu_seconds_per_day, replicas, gpus, gpu_memory_bytes, weight; "
    "null is none."
)


@click.group()
def tenant() -> None:
    """Make, list, change and remove tenants.

    Works on the database itself, also while nothing runs; with --url it asks a running server."""


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@click.option("--name", default=None, help="For people (default: the id).")
@click.option("--limits", default=None, help=_LIMITS)
@shared
def create(call: AccessCall, tenant_id: str, name: str | None, limits: str | None) -> None:
    """Make the tenant ID (a-z, 0-9, `_`, `-`). Then: penstock key create --tenant ID"""
    body = {"tenant_id": tenant_id, **_given(name, limits)}
    call.answer(call.asked.create_tenant(body), fields)


@tenant.command("list")
@shared
def list_tenants(call: AccessCall) -> None:
    """List tenants by id."""
    page = call.asked.tenants(limit=1000)
    call.answer(page, lambda _: table(COLUMNS, rows_of(page, "tenants"), nothing="No tenant."))


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@shared
def show(call: AccessCall, tenant_id: str) -> None:
    """Show the tenant ID."""
    call.answer(call.asked.tenant(tenant_id), fields)


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@click.option("--name", default=None)
@click.option("--limits", default=None, help=_LIMITS)
@click.option("--enable", is_flag=True, help="Its keys open again.")
@shared
def change(call: AccessCall, tenant_id: str, name: str | None, limits: str | None, enable: bool) -> None:
    """Change the name or limits of the tenant ID, or enable it again."""
    body = _given(name, limits) | ({"disabled": False} if enable else {})
    call.answer(call.asked.change_tenant(tenant_id, body), fields)


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@shared
def disable(call: AccessCall, tenant_id: str) -> None:
    """Let the keys of the tenant ID open nothing; its tasks run to their end."""
    call.answer(call.asked.change_tenant(tenant_id, {"disabled": True}), fields)


@tenant.command()
@click.argument("tenant_id", metavar="ID")
@shared
def delete(call: AccessCall, tenant_id: str) -> None:
    """Delete the tenant ID, which must have nothing left; its keys are revoked."""
    call.asked.delete_tenant(tenant_id)
    if call.is_json:
        call.answer({"tenant_id": tenant_id})
    else:
        say(f"The tenant {tenant_id} is deleted.")


def _given(name: str | None, limits: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {} if name is None else {"name": name}
    if limits is not None:
        body["limits"] = read_object(limits, option="--limits")
    return body
