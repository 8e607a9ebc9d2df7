"""Requests per second, of keys and of tenants: refused beyond the limit, at no more cost than a look into a dict."""

import threading
from collections.abc import Mapping

from inference.access.model import Principal
from inference.access.sharing import Sharing
from inference.clock import monotonic_s
from inference.errors import RateLimited
from inference.settings import AccessSettings

MOST = 20_000
ROUNDING_S = 1e-6
SLOWEST = 1 / 86_400
AHEAD_S = 10.0
"""What other processes let in closes a bucket for at most so long, or for two requests of a slower limit."""
CLOSED_S = 60.0
"""What a limit of nothing answers as Retry-After."""


class _Bucket:
    """`free_at`: when the bucket would be empty again (the theoretical arrival time of GCRA); `count`: not yet told."""

    __slots__ = ("burst_s", "count", "every_s", "free_at", "limit", "used_at")

    def __init__(self, limit: float) -> None:
        self.free_at = 0.0
        self.used_at = 0.0
        self.count = 0
        self.set(limit)

    def set(self, limit: float) -> None:
        """One second's worth may come at once, at least one request; what rounding adds is forgiven."""
        self.limit = limit
        self.every_s = 1 / limit
        self.burst_s = (max(1.0, limit) - 1) / limit + ROUNDING_S


class Rates:
    """Thread-safe token buckets, one float each; a bucket holds one second's worth, at least one request.

    A limit is shared by all processes, a little late: each learns every `share_every_s` what the others let in, and
    closes its bucket for as long as that takes to run off. So over some seconds the limit holds for all together, and
    within one it may be passed by what each lets in before it hears of the others.
    Source: the generic cell rate algorithm as virtual scheduling, ITU-T I.371, annex A.
    """

    prefix = "r:"

    def __init__(self, sharing: Sharing, settings: AccessSettings) -> None:
        self._sharing = sharing
        self._of_tenants = settings.requests_per_s or None
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        sharing.join(self)

    def count(self, by: Principal) -> None:
        """Counts one request of this caller. Raises RateLimited, and then counts nothing.

        Who has no key has no limit.
        """
        if by.key_id is None:
            return
        of_key, of_tenant = by.limits.requests_per_s, by.tenant_limits.requests_per_s
        if of_tenant is None:
            of_tenant = self._of_tenants
        if of_key is None and of_tenant is None:
            return
        now = monotonic_s()
        with self._lock:
            key = tenant = None
            if of_key is not None:
                key = self._open("key", by.key_id, of_key, now)
            if of_tenant is not None:
                tenant = self._open("tenant", by.scope.tenant_id, of_tenant, now)
            for bucket in (key, tenant):
                if bucket is not None:
                    bucket.free_at = max(bucket.free_at, now) + bucket.every_s
                    bucket.used_at = now
                    bucket.count += 1
        self._sharing.wake()

    def _open(self, of: str, name: str, limit: float, now: float) -> _Bucket:
        """The bucket, when one more request fits. Raises RateLimited."""
        if limit <= 0:
            raise _limited(of, limit, CLOSED_S)
        if limit < SLOWEST:
            limit = SLOWEST
        full = (of, name)
        bucket = self._buckets.get(full)
        if bucket is None:
            bucket = self._buckets[full] = _Bucket(limit)
            if len(self._buckets) > MOST:
                del self._buckets[next(iter(self._buckets))]
        if bucket.limit != limit:
            bucket.free_at = now + (bucket.free_at - now) * bucket.limit / limit
            bucket.set(limit)
        over_s = bucket.free_at - now - bucket.burst_s
        if over_s > 0:
            raise _limited(of, limit, over_s)
        return bucket

    def taken(self, *, used_since_s: float) -> Mapping[str, int]:
        """See `Counting`. Buckets that nobody used for a while are empty, and forgotten."""
        found: dict[str, int] = {}
        now = monotonic_s()
        with self._lock:
            for name, bucket in list(self._buckets.items()):
                if bucket.count or bucket.used_at >= used_since_s or bucket.free_at > now:
                    found[":".join(name)], bucket.count = bucket.count, 0
                else:
                    del self._buckets[name]
        return found

    def others(self, name: str, count: int, *, since_s: float) -> None:
        """See `Counting`. The lax reading: as if all of them had come right after `since_s`."""
        with self._lock:
            of, _, who = name.partition(":")
            bucket = self._buckets.get((of, who))
            if bucket is not None:
                moved = max(bucket.free_at, since_s) + count / bucket.limit
                most = monotonic_s() + max(AHEAD_S, 2 / bucket.limit)
                bucket.free_at = max(bucket.free_at, min(moved, most))


def _limited(of: str, limit: float, wait_s: float) -> RateLimited:
    return RateLimited(
        f"This {of} may send {limit:g} requests a second; send this one again later.",
        of=of,
        limit_per_s=limit,
        retry_after_s=round(wait_s, 3),
    )
