"""Set, show and judge budgets, and say what they still allow."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from inference.costs import account
from inference.costs.budget import allows, judge, span
from inference.costs.model import DAY_S, HOUR_S, MOST_MONEY, Budget, Level
from inference.costs.ports import CostPorts
from inference.errors import InvalidField, ScopeTooNarrow
from inference.ids import new_id

log = structlog.get_logger(__name__)

MOST_PRIORITY = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A budget as it stands now. `spent`: in the period, which lasts from `begins_at` until `ends_at` (epoch)."""

    budget: Budget
    spent: float
    begins_at: float
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Money a second that replicas cost now, by tenant and service, and for one instance of each service."""

    by_service: Mapping[tuple[str, str], float]
    of_instance: Mapping[str, float]


def put(ports: CostPorts, budget: Budget) -> Standing:
    """The budget as it is committed, and judged: a limit that is reached already holds from now on.

    Raises InvalidField, StoreUnavailable.
    """
    check(budget)
    now = ports.now_s()
    committed = ports.budgets.put(dataclasses.replace(budget, id=new_id(), created_at=now, updated_at=now))
    judge_all(ports, tenant_id=budget.tenant_id)
    return next(one for one in find(ports, budget.tenant_id) if one.budget.id == committed.id)


def check(budget: Budget) -> None:
    """Raises InvalidField, with the exact field."""
    for name in ("soft", "hard"):
        value = getattr(budget, name)
        if value is not None and not (math.isfinite(value) and 0 <= value <= MOST_MONEY):
            raise InvalidField(f"`{name}` must be an amount from 0 to {MOST_MONEY:g}, or null.", field=name)
    if budget.soft is None and budget.hard is None:
        raise InvalidField("A budget needs `soft`, `hard` or both.", field="hard")
    if budget.soft is not None and budget.hard is not None and budget.soft > budget.hard:
        raise InvalidField("`soft` must not be more than `hard`.", field="soft")
    if not 0 <= budget.low_priority <= MOST_PRIORITY:
        raise InvalidField(f"`low_priority` must be from 0 to {MOST_PRIORITY}.", field="low_priority")


def delete(ports: CostPorts, *, tenant_id: str | None, budget_id: str, by_system: bool) -> None:
    """Raises BudgetNotFound, and ScopeTooNarrow for one of the system's unless `by_system`."""
    require_own(ports.budgets.get(tenant_id, budget_id), by_system=by_system)
    ports.budgets.delete(tenant_id, budget_id)


def require_own(budget: Budget, *, by_system: bool) -> None:
    """Raises ScopeTooNarrow for a budget that the system's admins have set, unless `by_system`."""
    if budget.of_system and not by_system:
        raise ScopeTooNarrow(
            "This budget was set with a system key; only one of those changes it.", reach="tenant", needed="system"
        )


def find(ports: CostPorts, tenant_id: str | None) -> list[Standing]:
    """Of one tenant, or of all, with what is spent of each."""
    now = ports.now_s()
    found, sums = ports.budgets.list(tenant_id), _Sums(ports, tenant_id)
    standings = []
    for budget in found:
        begins_at, ends_at = span(budget.period, now)
        spent = sums.of(budget, now)
        level = judge(budget, spent) if budget.judged_for != begins_at else budget.level
        budget = dataclasses.replace(budget, level=level)
        standings.append(Standing(budget=budget, spent=spent, begins_at=begins_at, ends_at=ends_at))
    return standings


def used(ports: CostPorts, *, only_soft: bool = False) -> dict[tuple[str, str], float]:
    """By tenant and service (empty: the whole tenant) what is spent of the soft limit, or of the hard one without it.
    With `only_soft` budgets without a soft limit are left out.

    1 and more: it is reached. Of several budgets the one that is used up furthest. Raises StoreUnavailable.
    """
    found: dict[tuple[str, str], float] = {}
    for one in find(ports, None):
        limit = one.budget.hard if one.budget.soft is None and not only_soft else one.budget.soft
        if limit is not None:
            key = one.budget.tenant_id, one.budget.service_id
            share = one.spent / limit if limit else 1.0 + one.spent
            found[key] = max(found.get(key, 0.0), share)
    return found


def judge_all(ports: CostPorts, *, tenant_id: str | None = None) -> int:
    """Sets the level of each budget that has another now, and tells of it once; how many changed."""
    now, sums, changed = ports.now_s(), _Sums(ports, tenant_id), 0
    for budget in ports.budgets.list(tenant_id):
        begins_at, _ = span(budget.period, now)
        spent = sums.of(budget, now)
        level = judge(budget, spent)
        if level is budget.level and budget.judged_for == begins_at:
            continue
        is_worse = _RANK[level] > _RANK[budget.level if budget.judged_for == begins_at else Level.OK]
        notice = _notice(budget, level, spent, ports.settings.currency) if is_worse else None
        if ports.budgets.judge(budget, level, judged_for=begins_at, notice=notice):
            changed += 1
            if is_worse:
                log.warning(
                    "budget_reached",
                    level=level.value,
                    tenant_id=budget.tenant_id,
                    service_id=budget.service_id or None,
                    period=budget.period.value,
                    spent=round(spent, 2),
                    soft=budget.soft,
                    hard=budget.hard,
                )
    return changed


_RANK = {level: rank for rank, level in enumerate(Level)}


def _notice(budget: Budget, level: Level, spent: float, currency: str) -> str:
    limit = budget.hard if level is Level.HARD else budget.soft
    then = (
        f"new tasks of priority {budget.low_priority} and below are refused"
        if level is Level.HARD
        else "from here on it is scaled no further than the rest pays for"
        if budget.hard is not None
        else "nothing is refused"
    )
    return (
        f"{spent:.2f} {currency} of this {budget.period.value}'s {limit:.2f} are spent ({level.value} limit); {then}."
    )


class _Sums:
    """What was spent, read once for each period that is asked for."""

    def __init__(self, ports: CostPorts, tenant_id: str | None) -> None:
        self._ports = ports
        self._tenant_id = tenant_id
        self._known: dict[int, Mapping[tuple[str, str], float]] = {}

    def of(self, budget: Budget, now: float) -> float:
        first = int(span(budget.period, now)[0] // DAY_S)
        if first not in self._known:
            self._known[first] = self._ports.store.spent(self._tenant_id, day_from=first)
        return sum(money for who, money in self._known[first].items() if _is_of(budget, *who))


def _is_of(budget: Budget, tenant_id: str, service_id: str) -> bool:
    return budget.tenant_id == tenant_id and budget.service_id in ("", service_id)


def rates(ports: CostPorts) -> Rates:
    """What the replicas that are there cost a second. Raises StoreUnavailable."""
    now, prices = ports.now_s(), ports.prices.all()
    occupants, cards = ports.store.occupants()
    by_service: dict[tuple[str, str], float] = {}
    of_instance: dict[str, float] = {}
    for one in account.holdings(occupants, cards):
        money = account.per_s(one, now, prices)
        key = one.tenant_id, one.service_id
        by_service[key] = by_service.get(key, 0.0) + money
        of_instance[one.service_id] = max(of_instance.get(one.service_id, 0.0), money / max(1, one.instances))
    return Rates(by_service=by_service, of_instance=of_instance)


def affordable(ports: CostPorts, services: Mapping[str, tuple[str, float]]) -> dict[str, int]:
    """Of each service (id -> its tenant, and the most it may cost an hour; 0: no such limit) how many instances.

    The strictest of its budgets, of its tenant's, and of its own limit; services without any are left out. What an
    instance costs is known while one is there: before the first, only a hard limit that is reached caps. One reading
    for all services. Raises StoreUnavailable.
    """
    standings = [one for one in find(ports, None) if one.budget.hard is not None]
    if not standings and not any(limit for _, limit in services.values()):
        return {}
    now, cost = ports.now_s(), rates(ports)
    found: dict[str, int] = {}
    for service_id, (tenant_id, per_hour) in services.items():
        instance = cost.of_instance.get(service_id, 0.0)
        mine = [one for one in standings if _is_of(one.budget, tenant_id, service_id)]
        caps = [_cap(one, cost, tenant_id, service_id, instance, now) for one in mine]
        if per_hour and instance:
            caps.append(max(1, math.floor(per_hour / (instance * HOUR_S) + 1e-9)))
        known = [cap for cap in caps if cap is not None]
        if known:
            found[service_id] = min(known)
    return found


def _cap(standing: Standing, cost: Rates, tenant_id: str, service_id: str, instance: float, now: float) -> int | None:
    others = sum(
        money
        for who, money in cost.by_service.items()
        if _is_of(standing.budget, *who) and who != (tenant_id, service_id)
    )
    return allows(
        standing.budget,
        spent=standing.spent,
        others_per_s=others,
        instance_per_s=instance,
        left_s=standing.ends_at - now,
    )
