"""Where a job stands in the queue."""

import pytest

from inference.jobs.order import moved_key, order_key

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


@pytest.mark.parametrize("deadline", [None, NOW + 1, NOW + 1e6])
@pytest.mark.parametrize(("before", "after"), [(0, 9), (9, 0), (3, 3), (2, 5)])
def test_another_priority_puts_a_job_where_it_would_have_come(before, after, deadline):
    options = {"submitted_at": NOW, "head_start_s": 300, "deadline": deadline, "estimate_s": 2}
    key = order_key(priority=before, **options)

    moved = moved_key(key, levels=after - before, **options)

    if deadline is None or deadline > NOW + 10:
        assert moved == order_key(priority=after, **options)
    assert NOW - 2700 <= moved <= order_key(priority=after, **options)


def test_a_job_that_was_moved_keeps_the_instant_it_is_counted_from():
    shared = NOW + 500 - 300

    assert moved_key(shared, submitted_at=NOW, levels=2, head_start_s=300) == NOW + 500 - 900
