"""Observes a whole batch at once: in the files that a worker's processes share, each observation is two writes."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Histogram


def observe_all(histogram: Histogram, amounts: Sequence[float]) -> None:
    """As `observe` for each of them, at the price of one for each bucket that was hit.

    Source: `Histogram.observe` of prometheus-client, which has no such thing itself.
    """
    if not amounts:
        return
    histogram._sum.inc(sum(amounts))
    for bucket, count in Counter(bisect_left(histogram._upper_bounds, amount) for amount in amounts).items():
        histogram._buckets[bucket].inc(count)
