"""Set and show prices."""

import dataclasses
import math
from collections.abc import Sequence

from inference.costs import price as table
from inference.costs.model import MOST_MONEY, Price
from inference.costs.ports import CostPorts
from inference.errors import InvalidField

LONGEST_KIND = 128


def find(ports: CostPorts) -> Sequence[Price]:
    """Those that hold now, examples among them, and those that are still to come."""
    return list(table.in_force(ports.prices.all(), ports.now_s()))


def put(ports: CostPorts, changed: Sequence[Price]) -> None:
    """All or none; a `valid_from` of 0 is now. What was counted before stays as it is.

    Raises InvalidField, also for a time that has passed.
    """
    now, seen = ports.now_s(), set()
    settled = []
    for number, one in enumerate(changed):
        at = f"prices.{number}"
        kind = check(one, at)
        if one.valid_from and one.valid_from < now:
            raise InvalidField(
                "`valid_from` has passed: a price holds from now or a later time on.", field=f"{at}.valid_from"
            )
        if (key := (kind, one.purchase, one.valid_from)) in seen:
            raise InvalidField(f"`{kind}` ({one.purchase.value}) stands twice; keep one.", field=at)
        seen.add(key)
        settled.append(dataclasses.replace(one, device_kind=kind))
    ports.prices.put(settled)


def check(price: Price, at: str = "") -> str:
    """The kind as it is kept. Raises InvalidField, with the exact field; `at`: where the price stands."""
    before = f"{at}." if at else ""
    kind = table.plain(price.device_kind)
    if not 0 < len(kind) <= LONGEST_KIND:
        raise InvalidField(
            "`device_kind` must be `cpu`, `gpu` or words of a card's name.", field=f"{before}device_kind"
        )
    if not (math.isfinite(price.per_hour) and 0 <= price.per_hour <= MOST_MONEY):
        raise InvalidField(f"`per_hour` must be from 0 to {MOST_MONEY:g}.", field=f"{before}per_hour")
    return kind
