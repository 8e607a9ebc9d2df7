"""Costs, prices and budgets."""

import json
from typing import Any

from flask import Response

from api import context, table, times
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.errors import JSON
from api.schemas import costs as schemas
from api.schemas import usage
from inference import clock, errors
from inference.access import audit, tenants
from inference.access.model import Principal, Reach, Role, Scope
from inference.costs import budgets, prices, query
from inference.costs.model import Budget, CostGroup, Period, Price, Purchase

blueprint = Blueprint("costs", __name__, description="What services cost, at which prices, and how much they may")

Json = dict[str, Any]


@blueprint.route("/costs", needs=Role.VIEWER, reach=Reach.TENANT)
@blueprint.arguments(schemas.CostsQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.TenantNotFound)
@blueprint.doc(
    responses={
        "200": {
            "description": "What it cost",
            "content": {
                JSON: {"schema": schemas.CostsShown(), "example": schemas.COSTS_EXAMPLE},
                "text/csv": {"schema": {"type": "string"}},
            },
        }
    }
)
def show_costs(asked: Json) -> Response:
    """Show what was held, what of it was used, and what that cost, by service, tenant, day (UTC) or device

    With `format=csv` as a table. Tenants see their own costs, system keys those of all.
    """
    core, by = context.core(), CostGroup(asked["by"])
    first, last = usage.days(
        times.epoch_of(asked["from_"], "from"), times.epoch_of(asked["to"], "to"), now=clock.epoch_s()
    )
    whose = audit.tenant_for(context.principal(), asked["tenant_id"])
    found = query.find(core.costs, tenant_id=whose, day_from=first, day_to=last, by=by)
    if not found and whose is not None:
        tenants.get(core.access, tenant_id=whose)
    currency = core.settings.costs.currency
    body = schemas.shown(found, first=first, last=last, by=by, currency=currency)
    if asked["format"] == "csv":
        names = schemas.columns(by)
        lines = [table.row(names)]
        lines += [table.row({**one, "currency": currency}[name] for name in names) for one in body["costs"]]
        named = {"Content-Disposition": 'attachment; filename="costs.csv"'}
        return Response("".join(lines), content_type=table.CONTENT_TYPE, headers=named)
    return Response(json.dumps(schemas.CostsShown().dump(body)), content_type=JSON)


@blueprint.route("/prices", needs=Role.VIEWER, reach=Reach.TENANT)
@refuses()
@blueprint.response(200, schemas.PricesShown())
def list_prices() -> Json:
    """List the prices that hold now, and those to come; examples where nobody has set one"""
    return _prices()


@blueprint.route("/prices", methods=["PUT"], needs=Role.ADMIN, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.PricesIn(), example={"prices": [schemas.PRICE_EXAMPLE]})
@refuses(*READING)
@blueprint.response(200, schemas.PricesShown())
def set_prices(wanted: Json) -> Json:
    """Set prices, from now or a later time on; what was counted before stays as it is"""
    changed = [
        Price(
            device_kind=one["device_kind"],
            purchase=Purchase(one["purchase"]),
            per_hour=one["per_hour"],
            valid_from=_since(one["valid_from"]),
        )
        for one in wanted["prices"]
    ]
    prices.put(context.core().costs, changed)
    return _prices()


def _since(text: str | None) -> float:
    """0 stands for now, and is no time that could be said. Raises InvalidField."""
    at = times.epoch_of(text, "valid_from")
    return 0.0 if at is None else at or -1.0


def _prices() -> Json:
    core = context.core()
    return {
        "currency": core.settings.costs.currency,
        "prices": [schemas.price(one) for one in prices.find(core.costs)],
    }


@blueprint.route("/budgets", needs=Role.VIEWER, reach=Reach.TENANT)
@blueprint.arguments(schemas.BudgetsQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField, errors.TenantNotFound)
@blueprint.response(200, schemas.BudgetsShown())
def list_budgets(asked: Json) -> Json:
    """List budgets with what is spent of them"""
    core = context.core()
    whose = audit.tenant_for(context.principal(), asked["tenant_id"])
    currency = core.settings.costs.currency
    found = budgets.find(core.costs, whose)
    if not found and whose is not None:
        tenants.get(core.access, tenant_id=whose)
    return {"budgets": [schemas.budget(one, currency) for one in found]}


@blueprint.route("/budgets", methods=["PUT"], needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.arguments(schemas.BudgetIn(), example=schemas.BUDGET_IN_EXAMPLE)
@refuses(*READING, errors.ServiceNotFound, errors.TenantNotFound)
@blueprint.response(200, schemas.BudgetShown())
def set_budget(wanted: Json) -> Json:
    """Set the budget of a service or of the whole tenant, for each day or month

    It replaces one for the same service and period. One that is set with a system key stands beside the tenant's own.
    """
    core, by = context.core(), context.principal()
    tenant_id = _tenant(by, wanted["tenant_id"])
    if wanted["service_id"] is not None:
        context.known_form(wanted["service_id"], errors.ServiceNotFound, "service")
        core.serving.services.get(Scope(tenant_id), wanted["service_id"])
    set_to = budgets.put(
        core.costs,
        Budget(
            id="",
            tenant_id=tenant_id,
            service_id=wanted["service_id"] or "",
            period=Period(wanted["period"]),
            of_system=by.reach is Reach.SYSTEM,
            soft=wanted["soft"],
            hard=wanted["hard"],
            low_priority=wanted["low_priority"],
        ),
    )
    return schemas.budget(set_to, core.settings.costs.currency)


def _tenant(by: Principal, tenant_id: str | None) -> str:
    """Whose budget is meant. Raises TenantNotFound."""
    if tenant_id is None or tenant_id == by.scope.tenant_id:
        return by.scope.tenant_id
    audit.tenant_for(by, tenant_id)
    return tenants.get(context.core().access, tenant_id=tenant_id).id


@blueprint.route("/budgets/<budget_id>", methods=["DELETE"], needs=Role.ADMIN, reach=Reach.TENANT)
@refuses(errors.BudgetNotFound, errors.ScopeTooNarrow)
@blueprint.response(204)
def delete_budget(budget_id: str) -> None:
    """Delete a budget; what it refused is accepted again within some seconds"""
    context.known_form(budget_id, errors.BudgetNotFound, "budget")
    by = context.principal()
    is_system = by.reach is Reach.SYSTEM
    budgets.delete(
        context.core().costs,
        tenant_id=None if is_system else by.scope.tenant_id,
        budget_id=budget_id,
        by_system=is_system,
    )
