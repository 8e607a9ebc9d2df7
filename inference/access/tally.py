"""Figures that are dear to count: counted now and then, plus what this process let in since."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from inference.clock import monotonic_s
from inference.errors import StoreUnavailable

log = structlog.get_logger(__name__)

MOST = 10_000
COUNTING_SHARE = 0.02
"""At most this share of the time is spent on counting one figure, however long a count takes."""


Count = Callable[[str, bool], Mapping[str | None, float]]
"""Of a tenant: the whole under None and, when that is asked for, the part of each key that has one."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`of`: key or tenant. `key_id` None: the whole tenant's."""

    of: str
    tenant_id: str
    key_id: str | None
    limit: float


@dataclass(frozen=True, slots=True)
class Exceeded:
    bound: Bound
    used: float


class _Tenant:
    """`used`: as counted, plus what was let in since, by key; what is not there is 0. `due_at`: to be counted anew."""

    __slots__ = ("began_at", "by_key", "due_at", "is_counting", "took_s", "used")

    def __init__(self, used: dict[str | None, float], *, by_key: bool, began_at: float, took_s: float) -> None:
        self.used = used
        self.by_key = by_key
        self.began_at = began_at
        self.took_s = took_s
        self.due_at = began_at
        self.is_counting = False


class Tally:
    """Thread-safe. A tenant's figures are up to `every_s` old, and do not know what other processes let in since.

    Only the first call for a tenant waits for a count, and one that would be refused (at most every `again_s`); all
    others go on with what is known while a thread counts anew. One count serves the tenant and all of its keys.
    """

    def __init__(self, count: Count, *, every_s: float, again_s: float = 1.0) -> None:
        self._count = count
        self._every_s = every_s
        self._again_s = again_s
        self._lock = threading.Lock()
        self._counting: dict[str, threading.Lock] = {}
        self._tenants: dict[str, _Tenant] = {}

    def admit(self, bounds: Sequence[Bound], adding: float) -> Exceeded | None:
        """Adds to what each bound is about, if all hold then; else to none, and says which does not.

        The bounds are those of one caller. Raises StoreUnavailable.
        """
        if not bounds:
            return None
        now = monotonic_s()
        with self._lock:
            tenant = self._tenants.get(bounds[0].tenant_id)
            if tenant is not None and now < tenant.due_at and self._add(tenant, bounds, adding) is None:
                return None
        tenant = self._look(bounds, adding)
        with self._lock:
            # As it is now: it may have been counted anew since it was looked at.
            return self._add(self._tenants.get(bounds[0].tenant_id, tenant), bounds, adding)

    def _add(self, tenant: _Tenant, bounds: Sequence[Bound], adding: float) -> Exceeded | None:
        used = tenant.used
        for bound in bounds:
            if bound.key_id is not None and not tenant.by_key:
                return Exceeded(bound, 0.0)
            if (known := used.get(bound.key_id, 0.0)) + adding > bound.limit:
                return Exceeded(bound, known)
        for bound in bounds:
            used[bound.key_id] = used.get(bound.key_id, 0.0) + adding
        return None

    def give_back(self, bounds: Sequence[Bound], amount: float) -> None:
        """What was admitted did not come after all. Counted anew meanwhile it may be gone already: never below 0."""
        with self._lock:
            for bound in bounds:
                if (tenant := self._tenants.get(bound.tenant_id)) is not None and bound.key_id in tenant.used:
                    tenant.used[bound.key_id] = max(0.0, tenant.used[bound.key_id] - amount)

    def reached(self, bounds: Sequence[Bound]) -> Exceeded | None:
        """The bound that has nothing left. Raises StoreUnavailable."""
        if not bounds:
            return None
        tenant = self._tenants.get(bounds[0].tenant_id)
        if tenant is not None and monotonic_s() < tenant.due_at:
            for bound in bounds:
                if tenant.used.get(bound.key_id, 0.0) >= bound.limit or (bound.key_id and not tenant.by_key):
                    break
            else:
                return None
        tenant = self._look(bounds, 0)
        for bound in bounds:
            if (used := tenant.used.get(bound.key_id, 0.0)) >= bound.limit:
                return Exceeded(bound, used)
        return None

    def used(self, bound: Bound) -> float:
        """What is known of it. Raises StoreUnavailable."""
        return self._look((bound,), 0).used.get(bound.key_id, 0.0)

    @staticmethod
    def _is_full(tenant: _Tenant, bounds: Sequence[Bound], adding: float) -> bool:
        return any(
            (bound.key_id is not None and not tenant.by_key)
            or tenant.used.get(bound.key_id, 0.0) + adding > bound.limit
            for bound in bounds
        )

    def _look(self, bounds: Sequence[Bound], adding: float) -> _Tenant:
        """What is known of the tenant, after a count where there must be one."""
        name, by_key = bounds[0].tenant_id, any(bound.key_id is not None for bound in bounds)
        tenant = self._tenants.get(name)
        if tenant is None or (by_key and not tenant.by_key):
            return self._count_now(name, tenant, by_key=by_key)
        now = monotonic_s()
        soon_s = max(self._again_s, min(tenant.took_s / COUNTING_SHARE, self._every_s))
        if now - tenant.began_at >= soon_s and self._is_full(tenant, bounds, adding):
            return self._count_now(name, tenant, by_key=by_key)
        if now >= tenant.due_at and not tenant.is_counting:
            tenant.is_counting = True
            threading.Thread(target=self._count_later, args=(name, tenant), name="tally", daemon=True).start()
        return tenant

    def _count_now(self, name: str, known: _Tenant | None, *, by_key: bool) -> _Tenant:
        with self._counting.setdefault(name, threading.Lock()):
            found = self._tenants.get(name)
            if found is not None and found is not known and (found.by_key or not by_key):
                return found
            return self._read(name, found, by_key=by_key)

    def _count_later(self, name: str, known: _Tenant) -> None:
        try:
            with self._counting.setdefault(name, threading.Lock()):
                # As it is now: by key, if somebody asked for that meanwhile.
                self._read(name, self._tenants.get(name, known), by_key=False)
        except StoreUnavailable as error:
            log.warning("not_counted", reason=error.message)
            known.due_at = monotonic_s() + self._again_s
            known.is_counting = False

    def _read(self, name: str, known: _Tenant | None, *, by_key: bool) -> _Tenant:
        """What was let in while the count ran may be in it or not; it counts as not, to be safe."""
        by_key = by_key or (known is not None and known.by_key)
        with self._lock:
            before = dict(known.used) if known is not None else {}
        began_at = monotonic_s()
        counted = dict(self._count(name, by_key))
        tenant = _Tenant(counted, by_key=by_key, began_at=began_at, took_s=monotonic_s() - began_at)
        tenant.due_at = began_at + max(self._every_s, tenant.took_s / COUNTING_SHARE)
        with self._lock:
            for key_id, used in (known.used if known is not None else {}).items():
                if (added := used - before.get(key_id, 0.0)) > 0:
                    counted[key_id] = counted.get(key_id, 0.0) + added
            if len(self._tenants) >= MOST:
                self._tenants.clear()
            self._tenants[name] = tenant
        return tenant
