"""What a device costs: the prices that were set, and examples for those that were not."""

import re
from collections.abc import Iterator, Sequence

from inference.costs.model import CPU, GPU, Price, Purchase

EXAMPLES_OF = "2025-06"
_ON_DEMAND = {
    CPU: 0.045,
    GPU: 1.0,
    "h200": 5.0,
    "h100": 4.0,
    "a100": 3.0,
    "l40s": 1.9,
    "l40": 1.5,
    "l4": 0.8,
    "a40": 1.3,
    "a30": 1.2,
    "a10g": 1.0,
    "a10": 1.0,
    "v100": 2.5,
    "t4": 0.5,
    "rtx 4090": 0.6,
    "rtx 3090": 0.4,
}
_SHARE = {Purchase.ON_DEMAND: 1.0, Purchase.RESERVED: 0.6, Purchase.SPOT: 0.35}

EXAMPLES: tuple[Price, ...] = tuple(
    Price(device_kind=kind, purchase=purchase, per_hour=round(per_hour * share, 4), is_example=True)
    for kind, per_hour in _ON_DEMAND.items()
    for purchase, share in _SHARE.items()
)
"""US dollars an hour, rounded, of the order of public price lists at `EXAMPLES_OF`; nobody's offer.

A card with its host, and one core. Reserved and spot: 60 % and 35 % of that.
"""


def price_of(kind: str, purchase: Purchase, at: float, prices: Sequence[Price]) -> Price:
    """The price that holds at that time for a device of this kind, the name that its driver gives it.

    A price is for every device in whose name its kind stands as whole words: `a100` for `NVIDIA A100-SXM4-80GB`, `gpu`
    for any card. One that was set goes before any example, one for this purchase before the one on demand, the
    longer kind before the shorter, the later before the earlier.
    """
    fitting = [price for price in prices if price.valid_from <= at] + list(EXAMPLES)
    return max(
        (price for price in fitting if price.purchase in (purchase, Purchase.ON_DEMAND) and _fits(price, kind)),
        key=lambda price: (
            not price.is_example,
            price.purchase is purchase,
            0 if price.device_kind == GPU else len(price.device_kind),
            price.valid_from,
        ),
    )


def in_force(prices: Sequence[Price], at: float) -> Iterator[Price]:
    """What to show, by kind and purchase: of each the price of now, and those that are still to come."""
    now: dict[tuple[str, str], Price] = {(price.device_kind, price.purchase): price for price in EXAMPLES}
    for price in sorted(prices, key=lambda price: price.valid_from):
        if price.valid_from <= at:
            now[price.device_kind, price.purchase] = price
    coming = [price for price in prices if price.valid_from > at]
    yield from sorted([*now.values(), *coming], key=lambda price: (price.device_kind, price.purchase, price.valid_from))


def plain(kind: str) -> str:
    """A kind as prices are kept: words of lower-case letters and digits, a space between."""
    return " ".join(re.findall("[a-z0-9]+", kind.lower()))


def _fits(price: Price, kind: str) -> bool:
    if kind == CPU or price.device_kind == CPU:
        return kind == price.device_kind
    return price.device_kind == GPU or f" {price.device_kind} " in f" {plain(kind)} "
