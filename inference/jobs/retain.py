"""Retention: finished jobs and idempotency keys are kept for their time, then go, in short transactions."""

from inference.clock import monotonic_s
from inference.jobs.ports import JobPorts

CHUNK = 500
BUDGET_S = 60.0


def retain(ports: JobPorts, *, keep_s: float, budget_s: float = BUDGET_S) -> int:
    """Removes what is older; how many jobs went. What the budget leaves is for the next call.

    `keep_s`: life of a finished job; 0 keeps it for good.
    """
    ports.store.forget_keys(older_than_s=ports.settings.idempotency_keep_s)
    if keep_s <= 0:
        return 0
    end, removed = monotonic_s() + budget_s, 0
    while monotonic_s() < end:
        count = ports.store.delete_finished(older_than_s=keep_s, limit=CHUNK)
        removed += count
        if count < CHUNK:
            break
    return removed
