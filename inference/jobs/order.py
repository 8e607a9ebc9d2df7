"""Where a job stands in its service's queue. Pure."""

from inference.jobs.model import MAX_PRIORITY


def order_key(
    *, submitted_at: float, priority: int, head_start_s: float, deadline: float | None = None, estimate_s: float = 0.0
) -> float:
    """Smaller is sooner: the instant of submission, less a head start for each level of priority.

    A deadline pulls a job forward, to two service times before it, but never before a job of the highest
    priority submitted now. Nobody starves: whatever comes later than the head start stands behind.
    """
    key = submitted_at - priority * head_start_s
    if deadline is not None:
        key = min(key, deadline - 2 * estimate_s)
    return max(key, submitted_at - MAX_PRIORITY * head_start_s)
