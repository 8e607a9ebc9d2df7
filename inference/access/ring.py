"""The ring of keys as one process knows it: who holds which, checked without a query per request."""

import threading
from collections.abc import Iterable, Mapping

import structlog

from inference.access import token
from inference.access.model import ApiKey, Principal, Tenant
from inference.access.ports import KeyChange, KeyStore
from inference.clock import epoch_s, monotonic_s
from inference.errors import StoreUnavailable
from inference.settings import AccessSettings
from inference.waiting import hand_on, refuse_on_loop

log = structlog.get_logger(__name__)

PATIENCE = 1.6
"""A request waits for a refresh under way only when what is known is older than this many `refresh_s` (0.8 s)."""


class KeyRing:
    """Thread-safe. What it says is at most `refresh_s` old, and a little: a revoked key is refused within a second.

    It reads what changed when a request comes, never by itself: an idle process asks nothing. While the database is
    away it goes on for `stale_s` with what it knows. A wrong secret and an unknown id take the same steps, a hash and
    two looks into one dict, so that the time of an answer tells nothing.
    """

    def __init__(self, keys: KeyStore, settings: AccessSettings) -> None:
        self._store = keys
        self._settings = settings
        self._lock = threading.Lock()
        self._epoch = 0
        self._read_at = self._tried_at = -1e9
        self._is_failing = self._is_handed_on = False
        self._offset_s = self._ahead_s = 0.0
        self._is_closed = settings.require_keys
        self._keys: dict[str, KeyChange] = {}
        self._tenants: dict[str, Tenant] = {}
        self._holders: Mapping[bytes, tuple[Principal, float | None]] = {}

    def is_closed(self) -> bool:
        """Whether a key is asked for. Once true it stays so: a key that was ever made closes the system for good.

        Raises StoreUnavailable, as `holder` does.
        """
        self._refresh()
        return self._is_closed

    def holder(self, text: str) -> Principal | None:
        """Who holds this key; None for one that opens nothing (any more).

        Raises StoreUnavailable when nothing is known, or only what is older than `stale_s`.
        """
        self._refresh()
        digest = token.digest(text)
        found = self._holders.get(digest)
        if found is None:
            self._look_again()
            found = self._holders.get(digest)
        if found is None:
            return None
        principal, until = found
        # By either clock: this machine's may be set back, and the monotonic one stands still while it sleeps.
        if until is not None and max(epoch_s() + self._offset_s, monotonic_s() + self._ahead_s) >= until:
            return None
        return principal

    def _refresh(self) -> None:
        age_s = monotonic_s() - self._read_at
        if age_s < self._settings.refresh_s:
            return
        # While the database is away one thread at a time asks for it; the others go on with what is known.
        must_wait = age_s > PATIENCE * self._settings.refresh_s and not self._is_failing
        reads = must_wait or not self._reads_elsewhere()
        if reads and (self._lock.acquire(blocking=False) or (must_wait and self._wait_for_lock())):
            self._read_if_due()
        if monotonic_s() - self._read_at > self._settings.stale_s:
            raise StoreUnavailable("Keys cannot be checked: the database is away.", part="sql", retry_after_s=1)

    def _reads_elsewhere(self) -> bool:
        """On a loop another thread reads, before anybody has to wait for it."""
        if self._is_handed_on:
            return True
        self._is_handed_on = True  # before the other thread may have ended
        if hand_on(self._read_handed_on):
            return True
        self._is_handed_on = False
        return False

    def _read_handed_on(self) -> None:
        try:
            if self._lock.acquire(blocking=False):
                self._read_if_due()
        finally:
            self._is_handed_on = False

    def _read_if_due(self) -> None:
        """With the lock, which it lets go."""
        try:
            if monotonic_s() - self._tried_at >= self._settings.refresh_s:
                self._read()
        finally:
            self._lock.release()

    def _wait_for_lock(self) -> bool:
        refuse_on_loop()
        return self._lock.acquire()

    def _look_again(self) -> None:
        """For a key that was made a moment ago, on another process: it opens at once. Wrong keys are few by rule.

        What somebody else began to read after we came is new enough for us.
        """
        refuse_on_loop()
        came_at = monotonic_s()
        with self._lock:
            if not self._is_failing and self._tried_at <= came_at:
                self._read()

    def _read(self) -> None:
        began = monotonic_s()
        try:
            changes = self._store.changes(self._epoch)
        except StoreUnavailable as error:
            log.warning("keys_not_read", reason=error.message)
            self._tried_at, self._is_failing = monotonic_s(), True
            return
        if changes is not None:
            self._offset_s, self._ahead_s = changes.now - epoch_s(), changes.now - monotonic_s()
            self._is_closed = self._is_closed or changes.is_closed
            self._keys |= {change.key.id: change for change in changes.keys}
            for change in changes.keys:
                if change.key.revoked_at is not None:  # for good: it need not be gone through at each change
                    del self._keys[change.key.id]
            self._tenants |= {tenant.id: tenant for tenant in changes.tenants}
            self._holders = _holders(self._keys.values(), self._tenants)
            self._epoch = changes.epoch
        self._read_at = self._tried_at = began
        self._is_failing = False


def _holders(keys: Iterable[KeyChange], tenants: Mapping[str, Tenant]) -> dict[bytes, tuple[Principal, float | None]]:
    """By digest: who holds it, and until when (epoch seconds). Revoked keys and disabled tenants have none."""
    found: dict[bytes, tuple[Principal, float | None]] = {}
    for change in keys:
        key, tenant = change.key, tenants.get(change.key.scope.tenant_id)
        if key.revoked_at is not None or tenant is None or tenant.is_disabled:
            continue
        principal = _principal(key, tenant)
        for digest, until in change.digests:
            ends = [time for time in (key.expires_at, until) if time is not None]
            found[digest] = principal, min(ends, default=None)
    return found


def _principal(key: ApiKey, tenant: Tenant) -> Principal:
    return Principal(
        name=key.name,
        role=key.role,
        scope=key.scope,
        reach=key.reach,
        key_id=key.id,
        limits=key.limits,
        tenant_limits=tenant.limits,
    )
