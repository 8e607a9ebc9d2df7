"""What a budget says: how far it is used up, what it still allows, and when its period ends. Pure."""

import math
from datetime import UTC, datetime

from inference.costs.model import DAY_S, Budget, Level, Period

CAUTION = 0.8
"""A budget without a soft limit begins to cap scaling at this part of its hard one."""


def span(period: Period, at: float) -> tuple[float, float]:
    """The first second of the period that this instant lies in, and that of the next period."""
    if period is Period.DAY:
        begins = at // DAY_S * DAY_S
        return begins, begins + DAY_S
    now = datetime.fromtimestamp(at, UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first.timestamp(), following.timestamp()


def judge(budget: Budget, spent: float) -> Level:
    """A limit is reached when as much is spent. A limit of 0 is reached from the start."""
    if budget.hard is not None and spent >= budget.hard:
        return Level.HARD
    if budget.soft is not None and spent >= budget.soft:
        return Level.SOFT
    return Level.OK


def allows(budget: Budget, *, spent: float, others_per_s: float, instance_per_s: float, left_s: float) -> int | None:
    """How many instances of a service the budget pays for; None: as many as there are.

    Nothing is capped before the soft limit (80 % of the hard one without it). From there on as many as what is left
    pays for until the period ends, after `others_per_s` for the other services of the budget; past the hard limit, one,
    for the jobs that are still accepted. Never none: whether a service may rest is not the budget's to say.
    """
    if budget.hard is None:
        return None
    caution = budget.hard * CAUTION if budget.soft is None else min(budget.soft, budget.hard)
    if spent < caution:
        return None
    if spent >= budget.hard:
        return 1
    if instance_per_s <= 0 or left_s <= 0:
        return None
    rest = budget.hard - spent - others_per_s * left_s
    return max(1, math.floor(rest / (instance_per_s * left_s)))
