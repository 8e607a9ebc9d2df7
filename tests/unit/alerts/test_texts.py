"""Figures as people read them."""

import pytest

from inference.alerts.model import Metric
from inference.alerts.texts import shown


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (Metric.BUDGET_USED, 3525.0, "352,500 %"),
        (Metric.ERROR_RATIO, 0.05, "5 %"),
        (Metric.ERROR_RATIO, 0.123456, "12.35 %"),
        (Metric.ERROR_RATIO, 0.000001, "0.0001 %"),
        (Metric.LATENCY, 0.0, "0 s"),
        (Metric.QUEUE_AGE, 86_400.0, "86,400 s"),
        (Metric.MEMORY_BYTES, 12_345_678_901.0, "12.35 GB"),
        (Metric.MEMORY_BYTES, 2_500_000.0, "2.5 MB"),
        (Metric.QUEUE_LENGTH, 1_234_567.0, "1,234,567"),
        (Metric.THROUGHPUT, 1e18, "more than 10^15"),
        (Metric.LATENCY, None, "-"),
    ],
)
def test_a_figure_has_no_exponent(metric, value, text):
    assert shown(metric, value) == text
