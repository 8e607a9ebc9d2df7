"""Sample what replicas hold: each sample stands for the time since the one before it."""

from collections.abc import Mapping, Sequence

import structlog

from inference.costs import account, budgets
from inference.costs.model import Card, Occupant
from inference.costs.ports import CostPorts, Held

log = structlog.get_logger(__name__)

EARLY = 0.8
MOST_SAMPLES = 20
"""What was held for longer than so many periods, while nobody looked, is not known, and is not counted."""


def run(ports: CostPorts) -> bool:
    """Counts, and then judges the budgets; False when another process did so in this period.

    A replica that lives for less than a period is counted for the whole of one, or not at all: right on average.
    """
    prices, settings = ports.prices.all(), ports.settings

    def count(occupants: Sequence[Occupant], cards: Mapping[tuple[str, str], Card], since: float, until: float) -> Held:
        held = account.holdings(occupants, cards)
        return Held(rows=account.rows(held, since, until, prices), holdings=held)

    if not ports.store.sample(every_s=settings.sample_s * EARLY, most_s=settings.sample_s * MOST_SAMPLES, count=count):
        return False
    budgets.judge_all(ports)
    return True
