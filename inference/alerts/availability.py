"""How much of the time that it was meant to run a service really could. Pure."""

from collections.abc import Sequence

UP = frozenset({"running"})
ILL = frozenset({"error"})
"""Not `preempted`: who gives way to a more important service does what its priority says."""
RETURNING = "deploying"
"""Of a service that ran, or was ill, it is time lost; of one that a person just started, it is not counted."""


def availability(moves: Sequence[tuple[float, str, str]], state: str, *, since: float, now: float) -> float | None:
    """From 0 to 1, over the time from `since` on; None while it was not meant to run at all.

    `moves`: (when, from state, to state), by time; `state`: as it is now.
    """
    at, current = since, moves[0][1] if moves else state
    up = lost = 0.0
    was_meant = current in UP | ILL
    for when, was, _to in [*moves, (now, state, state)]:
        span = max(0.0, when - at)
        if was in UP:
            up, was_meant = up + span, True
        elif was in ILL:
            lost, was_meant = lost + span, True
        elif was == RETURNING and was_meant:
            lost += span
        elif was != RETURNING:
            was_meant = False
        at = max(at, when)
    return up / (up + lost) if up + lost > 0 else None
