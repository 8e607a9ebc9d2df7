"""A short forecast of the arrival rate, as far ahead as a start takes."""

Trend = tuple[float, float, float]
"""The level in jobs/s, how much it grows each step, and when it was last followed, in epoch seconds."""

STEP_S = 15.0
LEVEL = 0.4
SLOPE = 0.2
DAMPING = 0.8
"""Weights of the newest rate and the newest growth, and what is left of the growth after each step."""


def follow(trend: Trend | None, *, rate: float, now_s: float) -> Trend:
    """The trend with one more rate (jobs/s of the last 15 s) in it; as it was when less than a step has passed.

    Holt's linear exponential smoothing, damped, so that a growth dies out instead of running away. A gap of more than
    four steps starts anew.
    Source: E. S. Gardner, E. McKenzie, Forecasting Trends in Time Series, Management Science 31 (1985).
    """
    if trend is None:
        return rate, 0.0, now_s
    level, slope, at_s = trend
    if now_s - at_s < STEP_S:
        return trend
    if now_s - at_s > 4 * STEP_S:
        return rate, 0.0, now_s
    expected = level + DAMPING * slope
    followed = LEVEL * rate + (1 - LEVEL) * expected
    return followed, SLOPE * (followed - level) + (1 - SLOPE) * DAMPING * slope, now_s


def ahead(trend: Trend | None, *, by_s: float) -> float:
    """Jobs/s to expect in `by_s` seconds; never below 0, and 0 while nothing is known."""
    if trend is None:
        return 0.0
    level, slope, _ = trend
    steps = by_s / STEP_S
    grown: float = slope * DAMPING * (1 - DAMPING**steps) / (1 - DAMPING)
    return max(0.0, level + grown)
