"""Where a job stands in the queue."""

import pytest

from inference.jobs.order import order_key

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"priority": 0}, NOW),
        ({"priority": 1}, NOW - 300),
        ({"priority": 9}, NOW - 2700),
        ({"priority": 0, "deadline": NOW + 10, "estimate_s": 1}, NOW),
        ({"priority": 0, "deadline": NOW + 1, "estimate_s": 2}, NOW - 3),
        ({"priority": 0, "deadline": NOW - 1e9, "estimate_s": 0}, NOW - 2700),
        ({"priority": 9, "deadline": NOW - 1e9, "estimate_s": 0}, NOW - 2700),
    ],
)
def test_the_key_follows_priority_and_deadline(given, expected):
    assert order_key(submitted_at=NOW, head_start_s=300, **given) == expected


def test_a_priority_nine_job_passes_ordinary_ones_that_wait_for_ten_minutes():
    waiting = order_key(submitted_at=NOW - 600, priority=0, head_start_s=300)

    urgent = order_key(submitted_at=NOW, priority=9, head_start_s=300)

    assert urgent < waiting


def test_an_ordinary_job_older_than_the_head_start_is_not_passed():
    old = order_key(submitted_at=NOW - 2701, priority=0, head_start_s=300)

    urgent = order_key(submitted_at=NOW, priority=9, head_start_s=300)

    assert old < urgent
