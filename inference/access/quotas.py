"""Quotas of bytes and of engine time, of tenants and of keys."""

from typing import NamedTuple

from inference.access.model import Limits, Principal
from inference.access.ports import UsageStore
from inference.access.tally import MOST, Bound, Exceeded, Tally
from inference.clock import epoch_s
from inference.errors import QuotaExceeded
from inference.settings import AccessSettings

DAY_S = 86_400
BYTES_EVERY_S, ENGINE_EVERY_S = 60.0, 10.0
BYTES_AGAIN_S = 5.0


class Bounds(NamedTuple):
    """Which limits hold for a caller."""

    bytes: tuple[Bound, ...]
    engine: tuple[Bound, ...]
    waiting: tuple[Bound, ...]


class Quotas:
    """Thread-safe; who has no key has none but that of waiting jobs. Figures are counted now and then (see `Tally`).

    A tenant without limits of its own has those of the settings, where 0 is none. `jobs_waiting`: that of a tenant.
    """

    def __init__(self, usage: UsageStore, settings: AccessSettings, *, jobs_waiting: int = 0) -> None:
        self._defaults = Limits(
            jobs_waiting=jobs_waiting or None,
            bytes_stored=settings.bytes_stored or None,
            gpu_seconds_per_day=settings.gpu_seconds_per_day or None,
        )
        self._bytes = Tally(usage.bytes_stored, every_s=BYTES_EVERY_S, again_s=BYTES_AGAIN_S)
        self._engine = Tally(
            lambda tenant_id, by_key: usage.engine_s(tenant_id, by_key, day=int(epoch_s() // DAY_S)),
            every_s=ENGINE_EVERY_S,
        )
        self._known: dict[str | None, tuple[Principal, Bounds]] = {}

    def of(self, by: Principal) -> Bounds:
        """The limits that hold for this caller: of its key, and of its tenant (its own, or else the default)."""
        known = self._known.get(by.key_id)
        if known is not None and known[0] is by:  # a changed limit makes another principal
            return known[1]
        found = self._bounds(by)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[by.key_id] = by, found
        return found

    def _bounds(self, by: Principal) -> Bounds:
        def both(name: str) -> tuple[Bound, ...]:
            own, of_tenant = getattr(by.limits, name), getattr(by.tenant_limits, name)
            if of_tenant is None:
                of_tenant = getattr(self._defaults, name)
            of_key = () if own is None else (Bound("key", by.scope.tenant_id, by.key_id, own),)
            return of_key if of_tenant is None else (*of_key, Bound("tenant", by.scope.tenant_id, None, of_tenant))

        if by.key_id is None:
            return Bounds((), (), both("jobs_waiting"))
        return Bounds(both("bytes_stored"), both("gpu_seconds_per_day"), both("jobs_waiting"))

    def take_bytes(self, by: Principal, size: int) -> None:
        """Counts what is about to be stored. Raises QuotaExceeded, and then counts nothing; StoreUnavailable."""
        if (exceeded := self._bytes.admit(self.of(by).bytes, size)) is not None:
            raise _full(exceeded)

    def give_back_bytes(self, by: Principal, size: int) -> None:
        """What was taken was not stored after all."""
        self._bytes.give_back(self.of(by).bytes, size)

    def room(self, by: Principal) -> int | None:
        """Bytes that may still be stored; None without a quota. Raises QuotaExceeded when nothing is left."""
        bounds = self.of(by).bytes
        if (exceeded := self._bytes.reached(bounds)) is not None:
            raise _full(exceeded)
        return min((int(bound.limit - self._bytes.used(bound)) for bound in bounds), default=None)

    def full(self, by: Principal) -> QuotaExceeded:
        """The refusal of what is larger than the room, to be raised."""
        bounds = self.of(by).bytes
        tightest = min(bounds, key=lambda bound: bound.limit - self._bytes.used(bound))
        return _full(Exceeded(tightest, self._bytes.used(tightest)))

    def check_engine_time(self, by: Principal) -> None:
        """Raises QuotaExceeded when the engine time of this day (UTC) is used up; StoreUnavailable."""
        bounds = self.of(by).engine
        if bounds and (exceeded := self._engine.reached(bounds)) is not None:
            bound = exceeded.bound
            raise QuotaExceeded(
                f"The GPU-seconds that this {bound.of} may use in a day are used up; the day ends at midnight UTC.",
                of=bound.of,
                quota="gpu_seconds_per_day",
                limit=bound.limit,
                used=round(exceeded.used, 3),
                retry_after_s=round(DAY_S - epoch_s() % DAY_S),
            )

    def used(self, by: Principal) -> dict[str, dict[str, float]]:
        """By key and tenant, where there is a quota: what is used of it. May count. Raises StoreUnavailable."""
        found: dict[str, dict[str, float]] = {"key": {}, "tenant": {}}
        for bound in self.of(by).bytes:
            found[bound.of]["bytes_stored"] = int(self._bytes.used(bound))
        for bound in self.of(by).engine:
            found[bound.of]["gpu_seconds_per_day"] = round(self._engine.used(bound), 3)
        return found


def _full(exceeded: Exceeded) -> QuotaExceeded:
    bound = exceeded.bound
    return QuotaExceeded(
        f"This {bound.of} may store {bound.limit:.0f} bytes and has {exceeded.used:.0f}; "
        "delete models or uploads, or wait until finished tasks are removed.",
        of=bound.of,
        quota="bytes_stored",
        limit=int(bound.limit),
        used=int(exceeded.used),
        retry_after_s=round(BYTES_EVERY_S),
    )
