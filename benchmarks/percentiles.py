"""Percentiles, the way every table here counts them."""

from collections.abc import Sequence


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank value below which `share` of an ascending sequence lies; 0 of an empty one."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, in milliseconds, rounded to a microsecond."""
    ordered = sorted(seconds)
    figures = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * quantile(ordered, share), 3) for name, share in figures.items()}


def median(values: Sequence[float]) -> float:
    """The middle value; the lower one of two."""
    return sorted(values)[(len(values) - 1) // 2]
