"""Costs, prices and budgets on the wire: what is asked of them, and how they are shown."""

from collections.abc import Sequence
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.access import Amount
from api.schemas.common import A_TIME, AN_ID, Text, WholeNumber, id_field, id_in, time_field
from api.schemas.usage import A_DAY, DaysQuery
from inference import clock
from inference.access.checks import TENANT_ID
from inference.clock import ISO_FORM
from inference.core import Core
from inference.costs import query
from inference.costs.budgets import Standing
from inference.costs.model import DAY_S, MOST_MONEY, Cost, CostGroup, Level, Period, Price, Purchase

FORMATS = ("json", "csv")
FIGURES = (
    "held_s",
    "used_s",
    "idle_share",
    "cpu_s",
    "jobs",
    "rows",
    "money",
    "used_money",
    "idle_money",
)
COSTS_EXAMPLE = {
    "from": A_DAY,
    "to": "2026-11-21",
    "by": "service",
    "currency": "USD",
    "costs": [
        {
            "service_id": AN_ID,
            "name": "digits",
            "held_s": 86400.0,
            "used_s": 21600.0,
            "idle_share": 0.75,
            "cpu_s": 86400.0,
            "jobs": 1200,
            "rows": 1200,
            "money": 1.08,
            "used_money": 0.27,
            "idle_money": 0.81,
        }
    ],
    "total": {"money": 1.08, "used_money": 0.27, "idle_money": 0.81},
}
PRICE_EXAMPLE = {"device_kind": "a100", "purchase": "spot", "per_hour": 1.1}
BUDGET_IN_EXAMPLE = {"service_id": AN_ID, "period": "month", "soft": 80, "hard": 100}


def _tenant_in(description: str) -> Text:
    return Text(load_default=None, metadata={"description": description, "pattern": f"^{TENANT_ID}$"})


def _money(description: str, **options: Any) -> Amount:
    return Amount(metadata={"description": description, "minimum": 0, "maximum": MOST_MONEY}, **options)


class CostsQuery(DaysQuery):
    by = fields.String(
        load_default=CostGroup.SERVICE.value,
        validate=validate.OneOf([group.value for group in CostGroup], error="It must be one of {choices}."),
    )
    format = fields.String(load_default="json", validate=validate.OneOf(FORMATS, error="It must be one of {choices}."))
    tenant_id = _tenant_in("Only of this tenant; system keys see all, others their own tenant's")


class CostShown(ma.Schema):
    """One of `service_id`, `tenant_id`, `day` and `device_kind` (with `purchase`) says of what."""

    service_id = id_field("The service; it may be deleted since")
    name = fields.String(allow_none=True, metadata={"description": "Of the service; null when it was deleted"})
    tenant_id = fields.String()
    day = fields.String(metadata={"format": "date", "example": A_DAY})
    device_kind = fields.String(metadata={"example": "NVIDIA A100-SXM4-80GB"})
    purchase = fields.String(metadata={"example": "on_demand"})
    held_s = fields.Float(metadata={"description": "Device-seconds that its replicas kept from others (CPU: core-s)"})
    used_s = fields.Float(metadata={"description": "Of these, while an engine call ran"})
    idle_share = fields.Float(allow_none=True, metadata={"description": "1 - used / held; null when nothing was held"})
    cpu_s = fields.Float(metadata={"description": "Core-seconds reserved, whatever the device"})
    jobs = fields.Integer(metadata={"description": "Tasks that ended as completed or failed"})
    rows = fields.Integer(metadata={"description": "Rows of their inputs"})
    money = fields.Float(metadata={"description": "For all that was held"})
    used_money = fields.Float(metadata={"description": "The part of it for engine calls: what the tasks cost"})
    idle_money = fields.Float(metadata={"description": "The rest of it"})


class Total(ma.Schema):
    money = fields.Float()
    used_money = fields.Float()
    idle_money = fields.Float()


class CostsShown(ma.Schema):
    from_ = fields.String(data_key="from", metadata={"format": "date"})
    to = fields.String(metadata={"format": "date"})
    by = fields.String()
    currency = fields.String(metadata={"example": "USD"})
    costs = fields.List(fields.Nested(CostShown()))
    total = fields.Nested(Total())


class PriceIn(ma.Schema):
    device_kind = Text(
        required=True,
        metadata={"description": "`cpu` (a core), `gpu` (any card), or words of a card's name", "example": "a100"},
    )
    purchase = fields.String(
        load_default=Purchase.ON_DEMAND.value,
        validate=validate.OneOf([one.value for one in Purchase], error="It must be one of {choices}."),
    )
    per_hour = _money("Of one card with its host, or of one core", required=True)
    valid_from = fields.String(
        load_default=None,
        metadata={"description": "Now, unless said; not in the past", "pattern": f"^{ISO_FORM}$", "example": A_TIME},
    )


class PricesIn(ma.Schema):
    prices = fields.List(
        fields.Nested(PriceIn()),
        required=True,
        validate=validate.Length(1, 200, error="1 to 200 prices, please."),
        metadata={"minItems": 1, "maxItems": 200},
    )


class PriceShown(ma.Schema):
    device_kind = fields.String()
    purchase = fields.String()
    per_hour = fields.Float()
    valid_from = time_field("Null for an example")
    is_example = fields.Boolean(metadata={"description": "Nobody has set it: replace it by what you really pay"})


class PricesShown(ma.Schema):
    currency = fields.String()
    prices = fields.List(fields.Nested(PriceShown()))


class BudgetIn(ma.Schema):
    """`soft`, `hard` or both."""

    service_id = id_in("Of this service; of the whole tenant without it", load_default=None, allow_none=True)
    tenant_id = _tenant_in("System keys only: of this tenant")
    period = fields.String(
        load_default=Period.MONTH.value,
        validate=validate.OneOf([one.value for one in Period], error="It must be one of {choices}."),
    )
    soft = _money("Past it you are told, and scaling is capped if `hard` is set", load_default=None, allow_none=True)
    hard = _money("Past it new tasks of low priority are refused", load_default=None, allow_none=True)
    low_priority = WholeNumber(
        load_default=4,
        metadata={"description": "Tasks of this priority and below are of low priority", "minimum": 0, "maximum": 9},
    )


class BudgetShown(ma.Schema):
    budget_id = id_field("The budget")
    tenant_id = fields.String()
    service_id = fields.String(allow_none=True, metadata={"description": "Null: the whole tenant's"})
    period = fields.String()
    of_system = fields.Boolean(metadata={"description": "Set with a system key, and changed with one only"})
    soft = fields.Float(allow_none=True)
    hard = fields.Float(allow_none=True)
    low_priority = fields.Integer()
    currency = fields.String()
    spent = fields.Float(metadata={"description": "Since the period began"})
    level = fields.String(validate=validate.OneOf([one.value for one in Level]))
    level_at = time_field("When it came to this level")
    begins_at = time_field("When the period began", nullable=False)
    ends_at = time_field("When it ends", nullable=False)


class BudgetsQuery(ma.Schema):
    tenant_id = _tenant_in("Only of this tenant; system keys see all, others their own tenant's")


class BudgetsShown(ma.Schema):
    budgets = fields.List(fields.Nested(BudgetShown()))


def shown(found: Sequence[Cost], *, first: int, last: int, by: CostGroup, currency: str) -> dict[str, Any]:
    money, used = sum(one.money for one in found), sum(one.used_money for one in found)
    return {
        "from_": _date(first),
        "to": _date(last),
        "by": by.value,
        "currency": currency,
        "costs": [{**group_of(one, by), **_figures(one)} for one in found],
        "total": {"money": round(money, 9), "used_money": round(used, 9), "idle_money": round(money - used, 9)},
    }


def columns(by: CostGroup) -> tuple[str, ...]:
    """The headings of the table."""
    group = {
        CostGroup.SERVICE: ("service_id", "name"),
        CostGroup.TENANT: ("tenant_id",),
        CostGroup.DAY: ("day",),
        CostGroup.DEVICE: ("device_kind", "purchase"),
    }
    return (*group[by], *FIGURES, "currency")


def group_of(one: Cost, by: CostGroup) -> dict[str, Any]:
    if by is CostGroup.DEVICE:
        return {"device_kind": one.group, "purchase": one.purchase}
    if by is CostGroup.DAY:
        return {"day": _date(int(one.group))}
    return {"service_id": one.group, "name": one.name} if by is CostGroup.SERVICE else {"tenant_id": one.group}


def _figures(one: Cost) -> dict[str, Any]:
    idle = None if one.held_s <= 0 else round(max(0.0, 1 - one.used_s / one.held_s), 6)
    seconds = {name: round(getattr(one, name), 6) for name in ("held_s", "used_s", "cpu_s")}
    return {
        **seconds,
        "idle_share": idle,
        "jobs": one.jobs,
        "rows": one.rows,
        "money": round(one.money, 9),
        "used_money": round(one.used_money, 9),
        "idle_money": round(one.money - one.used_money, 9),
    }


def shown_of_job(core: Core, task_id: str) -> dict[str, Any]:
    """The field `cost` of a task that the caller may see. Reads its attempts. Raises StoreUnavailable."""
    cost = query.of_job(core.costs, task_id)
    figures = {"gpu_s": cost.gpu_s, "cpu_s": cost.cpu_s, "money": cost.money}
    return {**{name: round(value, 9) for name, value in figures.items()}, "currency": core.settings.costs.currency}


def price(one: Price) -> dict[str, Any]:
    return {
        "device_kind": one.device_kind,
        "purchase": one.purchase.value,
        "per_hour": one.per_hour,
        "valid_from": None if one.is_example else clock.iso(one.valid_from),
        "is_example": one.is_example,
    }


def budget(one: Standing, currency: str) -> dict[str, Any]:
    known = one.budget
    return {
        "budget_id": known.id,
        "tenant_id": known.tenant_id,
        "service_id": known.service_id or None,
        "period": known.period.value,
        "of_system": known.of_system,
        "soft": known.soft,
        "hard": known.hard,
        "low_priority": known.low_priority,
        "currency": currency,
        "spent": round(one.spent, 6),
        "level": known.level.value,
        "level_at": clock.iso(known.level_at),
        "begins_at": clock.iso(one.begins_at),
        "ends_at": clock.iso(one.ends_at),
    }


def _date(day: int) -> str:
    return (clock.iso(day * DAY_S) or "")[:10]
