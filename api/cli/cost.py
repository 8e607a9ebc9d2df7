"""`penstock costs`, `penstock price`, `penstock budget`: what services cost, and how much they may."""

from typing import Any

import click

from api.cli.asking import Call, shared
from api.cli.output import fields, rows_of, say, table

GROUPS = {
    "service": {"service_id": "ID", "name": "NAME"},
    "tenant": {"tenant_id": "TENANT"},
    "day": {"day": "DAY"},
    "device": {"device_kind": "DEVICE", "purchase": "PURCHASE"},
}
FIGURES = {
    "held_s": "HELD s",
    "used_s": "USED s",
    "idle_share": "IDLE",
    "jobs": "TASKS",
    "used_money": "USED",
    "idle_money": "IDLE MONEY",
    "money": "MONEY",
}
PRICES = {
    "device_kind": "DEVICE",
    "purchase": "PURCHASE",
    "per_hour": "PER HOUR",
    "valid_from": "FROM",
    "is_example": "EXAMPLE",
}
BUDGETS = {
    "budget_id": "ID",
    "tenant_id": "TENANT",
    "service_id": "SERVICE",
    "period": "PERIOD",
    "spent": "SPENT",
    "soft": "SOFT",
    "hard": "HARD",
    "level": "LEVEL",
    "ends_at": "UNTIL",
}


@click.command()
@click.option("--by", type=click.Choice(list(GROUPS)), default="service", show_default=True)
@click.option("--from", "from_", default=None, help="First day (UTC); 30 days ago without it.")
@click.option("--to", default=None, help="Until this day, without it.")
@click.option("--tenant", default=None, help="Only of this tenant; system keys see all.")
@click.option("--csv", "is_csv", is_flag=True, help="A table for a spreadsheet, on stdout.")
@shared
def costs(call: Call, by: str, from_: str | None, to: str | None, tenant: str | None, is_csv: bool) -> None:
    """Show what was held, what of it was used, and what that cost."""
    asked = {"by": by, "from": from_, "to": to, "tenant_id": tenant}
    if is_csv:
        for piece in call.client.costs_table(**asked):
            click.echo(piece.decode(), nl=False)
        return
    call.answer(call.client.costs(**asked), _draw)


def _draw(body: dict[str, Any]) -> None:
    table(GROUPS[body["by"]] | FIGURES, rows_of(body, "costs"), nothing="Nothing was held.")
    total, currency = body["total"], body["currency"]
    say(f"{total['money']:.2f} {currency}: {total['used_money']:.2f} used, {total['idle_money']:.2f} idle.")


@click.group()
def price() -> None:
    """Show and set what devices cost."""


@price.command("list")
@shared
def list_prices(call: Call) -> None:
    """List the prices that hold now, and those to come."""
    body = call.client.prices()
    call.answer(body, lambda _: table(PRICES, rows_of(body, "prices"), nothing="No price."))


@price.command("set")
@click.argument("device_kind", metavar="DEVICE")
@click.argument("per_hour", type=click.FloatRange(0))
@click.option("--purchase", type=click.Choice(["on_demand", "reserved", "spot"]), default="on_demand")
@click.option("--from", "valid_from", default=None, help="ISO 8601; now without it.")
@shared
def set_price(call: Call, device_kind: str, per_hour: float, purchase: str, valid_from: str | None) -> None:
    """Set the price of an hour of DEVICE: cpu (a core), gpu (any card), or words of a card's name."""
    one = {"device_kind": device_kind, "per_hour": per_hour, "purchase": purchase, "valid_from": valid_from}
    body = call.client.set_prices({"prices": [{name: value for name, value in one.items() if value is not None}]})
    call.answer(body, lambda _: table(PRICES, rows_of(body, "prices"), nothing="No price."))


@click.group()
def budget() -> None:
    """Show and set how much a service or tenant may cost."""


@budget.command("list")
@click.option("--tenant", default=None, help="Only of this tenant; system keys see all.")
@shared
def list_budgets(call: Call, tenant: str | None) -> None:
    """List budgets with what is spent of them."""
    body = call.client.budgets(tenant_id=tenant)
    call.answer(body, lambda _: table(BUDGETS, rows_of(body, "budgets"), nothing="No budget."))


@budget.command("set")
@click.option("--service", default=None, help="Of this service (an id or a name); of the whole tenant without it.")
@click.option("--tenant", default=None, help="With a system key: of this tenant.")
@click.option("--period", type=click.Choice(["day", "month"]), default="month", show_default=True)
@click.option("--soft", type=click.FloatRange(0), default=None, help="Past it you are told.")
@click.option("--hard", type=click.FloatRange(0), default=None, help="Past it tasks of low priority are refused.")
@click.option("--low-priority", type=click.IntRange(0, 9), default=None, help="That priority and below (4).")
@shared
def set_budget(
    call: Call,
    service: str | None,
    tenant: str | None,
    low_priority: int | None,
    **given: Any,
) -> None:
    """Set the budget of a service or tenant; it replaces the one for the same period."""
    body = {name: value for name, value in given.items() if value is not None}
    if service is not None:
        body["service_id"] = call.service_id(service)
    if tenant is not None:
        body["tenant_id"] = tenant
    if low_priority is not None:
        body["low_priority"] = low_priority
    call.answer(call.client.set_budget(body), fields)


@budget.command("delete")
@click.argument("budget_id", metavar="ID")
@shared
def delete_budget(call: Call, budget_id: str) -> None:
    """Delete the budget ID; what it refused is accepted again."""
    call.client.delete_budget(budget_id)
    if call.is_json:
        call.answer({"budget_id": budget_id})
    else:
        say(f"The budget {budget_id} is deleted.")
