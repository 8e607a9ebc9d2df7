"""What the costs room needs from outside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from inference.costs.model import Budget, Card, Cost, CostGroup, HeldRow, Holding, Level, Occupant, Price, Run
from inference.setting_rooms import CostsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is added for the time since the last sample, and by whom it is held."""

    rows: Sequence[HeldRow]
    holdings: Sequence[Holding]


CountHeld: TypeAlias = Callable[[Sequence[Occupant], Mapping[tuple[str, str], Card], float, float], Held]
"""From the replicas that are there, the cards by node and UUID, and the time that is counted (from, until; epoch)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """A budget whose hard limit is reached, until its period ends."""

    tenant_id: str
    service_id: str
    low_priority: int
    hard: float
    ends_at: float


class CostStore(Protocol):
    """What was held, and what of it was used. Raises StoreUnavailable."""

    def sample(self, *, every_s: float, most_s: float, count: CountHeld) -> bool:
        """Adds what is held for the time since the last sample, at most `most_s`; in one transaction.

        False, and nothing added, when the last sample is younger than `every_s`: of several who sample, one does.
        """
        ...

    def occupants(self) -> tuple[Sequence[Occupant], Mapping[tuple[str, str], Card]]:
        """The replicas that are there now, on nodes that live, and the cards of these."""
        ...

    def find(self, tenant_id: str | None, *, day_from: int, day_to: int, by: CostGroup) -> Sequence[Cost]:
        """By group; of one tenant, or of all. `day_to` is not part of it."""
        ...

    def spent(self, tenant_id: str | None, *, day_from: int) -> Mapping[tuple[str, str], float]:
        """Money by tenant and service since that day."""
        ...

    def runs(self, job_id: str) -> Sequence[Run]:
        """The engine calls of a job that ended, all attempts and generations."""
        ...


class PriceStore(Protocol):
    """Prices that were set. Every change is audited. Raises StoreUnavailable."""

    def all(self) -> Sequence[Price]: ...

    def put(self, prices: Sequence[Price]) -> None:
        """All or none. One for the same kind, purchase and time is replaced; 0 as a time means now."""
        ...


class BudgetStore(Protocol):
    """Budgets. Every change by a person is audited. Raises StoreUnavailable."""

    def put(self, budget: Budget) -> Budget:
        """The budget that holds now: it takes the place, and the id, of one for the same tenant, service, period and
        owner, and is to be judged anew."""
        ...

    def list(self, tenant_id: str | None) -> Sequence[Budget]:
        """By tenant, service and period; of all tenants for None."""
        ...

    def get(self, tenant_id: str | None, budget_id: str) -> Budget:
        """Raises BudgetNotFound."""
        ...

    def delete(self, tenant_id: str | None, budget_id: str) -> None:
        """Raises BudgetNotFound."""
        ...

    def judge(self, budget: Budget, level: Level, *, judged_for: float, notice: str | None) -> bool:
        """Sets the level, if nobody did meanwhile; whether it was set. `notice`: noted among the service's events."""
        ...

    def exhausted(self) -> Sequence[Exhausted]:
        """Those past their hard limit, in the period that is now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPorts:
    store: CostStore
    prices: PriceStore
    budgets: BudgetStore
    settings: CostsSettings
    now_s: Callable[[], float]
