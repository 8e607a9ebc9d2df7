"""Where a job stands in its service's queue. Pure."""

from inference.jobs.model import MAX_PRIORITY
from inference.serving.model import ServiceConfig


def order_key(
    *,
    submitted_at: float,
    priority: int,
    head_start_s: float,
    deadline: float | None = None,
    estimate_s: float = 0.0,
    place: float | None = None,
) -> float:
    """Smaller is sooner: the instant of submission, less a head start for each level of priority.

    A deadline pulls a job forward, to two service times before it, but never before a job of the highest
    priority submitted now. Nobody starves: whatever comes later than the head start stands behind. `place`: the
    instant that fair sharing gave it for that of submission; a deadline does not wait for it.
    """
    key = (submitted_at if place is None else place) - priority * head_start_s
    if deadline is not None:
        key = min(key, deadline - 2 * estimate_s)
    return max(key, submitted_at - MAX_PRIORITY * head_start_s)


def key_in(config: ServiceConfig, *, submitted_at: float, priority: int, deadline: float | None, place: float) -> float:
    """`order_key` by the rules of that service."""
    return order_key(
        submitted_at=submitted_at,
        priority=priority,
        head_start_s=config.head_start_s,
        deadline=deadline,
        estimate_s=config.objective_ms / 1000,
        place=place,
    )


def moved_key(
    key: float,
    *,
    submitted_at: float,
    levels: int,
    head_start_s: float,
    deadline: float | None = None,
    estimate_s: float = 0.0,
) -> float:
    """The key of a waiting job whose priority was raised by so many `levels`, from its `key` so far.

    Whatever instant the key was counted from (a retry, fair sharing) it is still counted from. What a deadline did to
    it is done again, by the rule of `order_key`.
    """
    key -= levels * head_start_s
    if deadline is not None:
        key = min(key, deadline - 2 * estimate_s)
    return max(key, submitted_at - MAX_PRIORITY * head_start_s)
