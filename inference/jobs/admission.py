"""The quota of waiting jobs, checked without a query per request."""

import threading

from inference.access.model import Principal
from inference.clock import monotonic_s
from inference.errors import BacklogFull
from inference.jobs.ports import JobStore

RECOUNT_S = 10.0
RECOUNT_FULL_S = 1.0


class BacklogQuota:
    """`Admission` from a count taken now and then, plus what this process let in since.

    Between counts, other processes' submissions are not seen: the quota may be passed by what they accept in
    ten seconds.
    """

    def __init__(self, store: JobStore, *, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[int, float]] = {}

    def admit(self, by: Principal, *, jobs: int, payload_bytes: int) -> None:
        del payload_bytes
        tenant_id = by.scope.tenant_id
        now = monotonic_s()
        with self._lock:
            waiting, counted_at = self._seen.get(tenant_id, (0, -RECOUNT_S))
            age = now - counted_at
            if age >= RECOUNT_S or (waiting + jobs > self._limit and age >= RECOUNT_FULL_S):
                waiting, counted_at = self._store.waiting(tenant_id), now
            is_full = waiting + jobs > self._limit
            self._seen[tenant_id] = (waiting if is_full else waiting + jobs, counted_at)
        if is_full:
            raise BacklogFull(
                f"{waiting} tasks are waiting already and {self._limit} may; send these again later.",
                waiting=waiting,
                limit=self._limit,
                retry_after_s=5,
            )
