"""Whether new work may still be bought, as the hot path asks it: a lookup in what is known of used up budgets."""

import threading
from collections.abc import Callable, Mapping, Sequence

import structlog

from inference.clock import epoch_s, monotonic_s
from inference.costs.ports import BudgetStore, Exhausted
from inference.errors import BudgetExhausted, StoreUnavailable

log = structlog.get_logger(__name__)


class BudgetGate:
    """For any number of threads. Knows what held some `every_s` ago. Only the first call waits for the database,
    and while a budget is used up one that comes after a pause: what refused before it may hold no longer.

    While the database is away what was known holds, and nothing is refused that was never known to be.
    """

    def __init__(
        self, budgets: BudgetStore, *, every_s: float, currency: str, clock: Callable[[], float] = monotonic_s
    ) -> None:
        self._budgets = budgets
        self._every_s = every_s
        self._currency = currency
        self._clock = clock
        self._lock = threading.Lock()
        self._due_at = float("-inf")
        self._is_known = False
        self._services: Mapping[str, Exhausted] = {}
        self._tenants: Mapping[str, Exhausted] = {}

    def check(self, tenant_id: str, service_id: str, priority: int) -> None:
        """Raises BudgetExhausted for work of a priority that its budgets no longer pay for; WouldWait on a loop."""
        if self._clock() >= self._due_at:
            self._renew()
        if self._services or self._tenants:
            self._refuse(self._services.get(service_id), priority)
            self._refuse(self._tenants.get(tenant_id), priority)

    def _refuse(self, found: Exhausted | None, priority: int) -> None:
        if found is None or priority > found.low_priority:
            return
        left_s = found.ends_at - epoch_s()
        if left_s <= 0:
            return
        of = "service" if found.service_id else "tenant"
        others = (
            f"; tasks of priority {found.low_priority + 1} and above are still taken" if found.low_priority < 9 else ""
        )
        raise BudgetExhausted(
            f"The budget of this {of}, {found.hard:g} {self._currency}, is used up until its period ends{others}.",
            of=of,
            hard=found.hard,
            currency=self._currency,
            low_priority=found.low_priority,
            retry_after_s=max(1, round(left_s)),
        )

    def _renew(self) -> None:
        with self._lock:
            if self._clock() < self._due_at:
                return
            has_paused = self._clock() >= self._due_at + self._every_s
            if self._is_known and not (has_paused and (self._services or self._tenants)):
                self._due_at = self._clock() + self._every_s
                threading.Thread(target=self._read, name="budgets", daemon=True).start()
                return
        self._read()

    def _read(self) -> None:
        try:
            found = self._budgets.exhausted()
        except StoreUnavailable as error:
            log.warning("budgets_not_read", reason=error.message)
        else:
            self._services = {one.service_id: one for one in _lenient_first(found) if one.service_id}
            self._tenants = {one.tenant_id: one for one in _lenient_first(found) if not one.service_id}
            self._is_known = True
        self._due_at = self._clock() + self._every_s


def _lenient_first(found: Sequence[Exhausted]) -> list[Exhausted]:
    """So that of two budgets the stricter one is kept."""
    return sorted(found, key=lambda one: one.low_priority)
