"""Quotas of bytes and of engine time, of tenants and of keys."""

from collections.abc import Sequence

from inference.access.model import Limits, Principal
from inference.access.ports import UsageStore
from inference.access.tally import Bound, Exceeded, Tally
from inference.clock import epoch_s
from inference.errors import QuotaExceeded
from inference.settings import AccessSettings

DAY_S = 86_400
BYTES_EVERY_S, ENGINE_EVERY_S = 60.0, 10.0
BYTES_AGAIN_S = 5.0


class Quotas:
    """Thread-safe; who has no key has none. Figures come from the database now and then (see `Tally`).

    A tenant without limits of its own has those of the settings, where 0 is none.
    """

    def __init__(self, usage: UsageStore, settings: AccessSettings) -> None:
        self._defaults = Limits(
            bytes_stored=settings.bytes_stored or None, gpu_seconds_per_day=settings.gpu_seconds_per_day or None
        )
        self._bytes = Tally(usage.bytes_stored, every_s=BYTES_EVERY_S, again_s=BYTES_AGAIN_S)
        self._engine = Tally(
            lambda tenant_id, key_id: usage.engine_s(tenant_id, key_id, day=int(epoch_s() // DAY_S)),
            every_s=ENGINE_EVERY_S,
        )

    def take_bytes(self, by: Principal, size: int) -> None:
        """Counts what is about to be stored. Raises QuotaExceeded, and then counts nothing; StoreUnavailable."""
        if (exceeded := self._bytes.admit(self._of_bytes(by), size)) is not None:
            raise _full(exceeded)

    def give_back_bytes(self, by: Principal, size: int) -> None:
        """What was taken was not stored after all."""
        self._bytes.give_back(self._of_bytes(by), size)

    def room(self, by: Principal) -> int | None:
        """Bytes that may still be stored; None without a quota. Raises QuotaExceeded when nothing is left."""
        bounds = self._of_bytes(by)
        if (exceeded := self._bytes.reached(bounds)) is not None:
            raise _full(exceeded)
        return min((int(bound.limit - self._bytes.used(bound)) for bound in bounds), default=None)

    def full(self, by: Principal) -> QuotaExceeded:
        """The refusal of what is larger than the room, to be raised."""
        bounds = self._of_bytes(by)
        tightest = min(bounds, key=lambda bound: bound.limit - self._bytes.used(bound))
        return _full(Exceeded(tightest, self._bytes.used(tightest)))

    def check_engine_time(self, by: Principal) -> None:
        """Raises QuotaExceeded when the engine time of this day (UTC) is used up; StoreUnavailable."""
        bounds = self._of_engine(by)
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
        for bound in self._of_bytes(by):
            found[bound.of]["bytes_stored"] = int(self._bytes.used(bound))
        for bound in self._of_engine(by):
            found[bound.of]["gpu_seconds_per_day"] = round(self._engine.used(bound), 3)
        return found

    def _of_bytes(self, by: Principal) -> Sequence[Bound]:
        default = self._defaults.bytes_stored
        return () if by.key_id is None else bounds(by, by.limits.bytes_stored, by.tenant_limits.bytes_stored, default)

    def _of_engine(self, by: Principal) -> Sequence[Bound]:
        default, own = self._defaults.gpu_seconds_per_day, by.limits.gpu_seconds_per_day
        return () if by.key_id is None else bounds(by, own, by.tenant_limits.gpu_seconds_per_day, default)


def bounds(by: Principal, of_key: float | None, of_tenant: float | None, default: float | None) -> Sequence[Bound]:
    """The limits that hold for this caller: of its key, and of its tenant (its own, or else the default)."""
    if of_tenant is None:
        of_tenant = default
    if of_key is None and of_tenant is None:
        return ()
    found = []
    if of_key is not None:
        found.append(Bound("key", by.scope.tenant_id, by.key_id, of_key))
    if of_tenant is not None:
        found.append(Bound("tenant", by.scope.tenant_id, None, of_tenant))
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
