"""What follows from a value. Pure."""

from dataclasses import replace
from enum import StrEnum

from inference.alerts.model import Compare, Phase, Rule, State

ABSENT_S = 300.0
"""A firing alert about which nothing more is heard (nobody uses the service) is over after so long."""


class Move(StrEnum):
    """`dropped`: it was bad, and not for long enough."""

    PENDING = "pending"
    FIRED = "fired"
    RESOLVED = "resolved"
    DROPPED = "dropped"


def is_bad(rule: Rule, value: float) -> bool:
    """Beyond the threshold; at the threshold all is well."""
    return value > rule.threshold if rule.compare is Compare.ABOVE else value < rule.threshold


def is_well(rule: Rule, value: float) -> bool:
    """Good enough for a firing alert to be over."""
    limit = rule.threshold if rule.resolve_threshold is None else rule.resolve_threshold
    return value <= limit if rule.compare is Compare.ABOVE else value >= limit


def evaluate(rule: Rule, state: State | None, value: float | None, now: float) -> tuple[State | None, Move | None]:
    """The state that follows, None when nothing is wrong, and the move if there is one.

    Between the two thresholds an alert stays what it is. Without a value a pending one is dropped, and a firing one
    goes on for ABSENT_S: silence alone is no proof that all is well.
    """
    if state is None or state.phase is Phase.RESOLVED:
        if value is None or not is_bad(rule, value):
            return None, None
        if rule.for_s <= 0:
            return State(phase=Phase.FIRING, since=now, value=value), Move.FIRED
        return State(phase=Phase.PENDING, since=now, value=value), Move.PENDING
    if state.phase is Phase.PENDING:
        if value is None or not is_bad(rule, value):
            return None, Move.DROPPED
        if now - state.since >= rule.for_s:
            return replace(state, phase=Phase.FIRING, value=value), Move.FIRED
        return replace(state, value=value), None
    if value is None:
        since = now if state.quiet_since is None else state.quiet_since
        if now - since >= ABSENT_S:
            return None, Move.RESOLVED
        return replace(state, quiet_since=since), None
    if is_well(rule, value):
        return None, Move.RESOLVED
    return replace(state, value=value, quiet_since=None), None
