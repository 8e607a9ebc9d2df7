"""`penstock audit`: who changed what."""

from collections.abc import Callable
from typing import Any

import click

from api.cli.asking import Call, shared
from api.cli.output import fields, rows_of, table

COLUMNS = {
    "seq": "NO",
    "at": "AT",
    "actor_name": "WHO",
    "address": "FROM",
    "action": "ACTION",
    "object_id": "OF",
    "before": "BEFORE",
    "after": "AFTER",
}


def _period(function: Callable[..., None]) -> Callable[..., None]:
    """The options that list and export share."""
    function = click.option("--tenant", default=None, help="Only of this tenant; system keys see all.")(function)
    function = click.option("--to", default=None, help="Before this time, ISO 8601.")(function)
    return click.option("--from", "from_", default=None, help="At or after this time, ISO 8601.")(function)


@click.group()
def audit() -> None:
    """Read, export and verify the record of who changed what."""


@audit.command("list")
@click.option("--action", default=None, help="Only this, for example service.stop.")
@click.option("--actor", default=None, help="Only by the key with this id.")
@click.option("--kind", default=None, help="Only of things of this kind: service, model, key, tenant, job ...")
@click.option("--object", "object_id", default=None, help="Only of the thing with this id.")
@_period
@click.option("--limit", default=100, show_default=True)
@click.option("--cursor", default=None, help="`next` of the page before.")
@shared
def list_(call: Call, kind: str | None, from_: str | None, tenant: str | None, **filters: Any) -> None:
    """List records, newest first."""
    body = call.client.audit(object_kind=kind, tenant_id=tenant, **{"from": from_}, **filters)
    call.answer(body, _draw)


def _draw(body: dict[str, Any]) -> None:
    table(COLUMNS, rows_of(body, "records"), nothing="No record is like that.")
    if following := body.get("next"):
        click.echo(f"There are more: --cursor {following}", err=True)


@audit.command()
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--output", "-o", type=click.File("wb", lazy=True), default="-", help="A file; stdout by default.")
@_period
@shared
def export(call: Call, form: str, output: Any, from_: str | None, to: str | None, tenant: str | None) -> None:
    """Export every record, oldest first: JSON Lines, which docs/audit.md verifies, or a table."""
    for piece in call.client.export_audit(format=form, to=to, tenant_id=tenant, **{"from": from_}):
        output.write(piece)
    output.flush()


@audit.command()
@shared
def verify(call: Call) -> None:
    """Verify that no record is missing or was changed. Exit code 1 when one is.

    Keep the head that is shown elsewhere, and compare it later."""
    body = call.client.verify_audit()
    call.answer(body, _tell)
    if not body.get("is_sound"):
        raise SystemExit(1)


def _tell(body: dict[str, Any]) -> None:
    fields({"sound": body["is_sound"], "records": body["records"], "head": body["head"]})
    if broken := body.get("broken"):
        click.secho(str(broken["message"]), fg="red", err=True)
