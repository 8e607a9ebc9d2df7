"""Which waiting jobs make the next batch."""

import pytest

from inference.jobs.choose import Candidate, choose


def job(name, bucket="", rows=1, cap=0, late=False):
    return Candidate(id=name, bucket=bucket, rows=rows, batch_cap=cap, is_late=late)


def ids(jobs):
    return "".join(one.id for one in jobs)


@pytest.mark.parametrize(
    ("queue", "limits", "taken", "is_full"),
    [
        ([], {"max_rows": 4}, "", False),
        ([job("a"), job("b")], {"max_rows": 4}, "ab", False),
        ([job("a"), job("b"), job("c")], {"max_rows": 2}, "ab", True),
        ([job("a", "x"), job("b", "y"), job("c", "x")], {"max_rows": 4}, "a", True),
        ([job("a", rows=9), job("b")], {"max_rows": 4}, "a", True),
        ([job("a", rows=3), job("b", rows=2), job("c")], {"max_rows": 4}, "a", True),
        ([job("a", rows=2), job("b", rows=2)], {"max_rows": 4}, "ab", False),
        ([job("a"), job("b")], {"max_rows": 4, "min_rows": 3}, "", False),
        ([job("a"), job("b"), job("c")], {"max_rows": 4, "min_rows": 3}, "abc", False),
        ([job("a", cap=2), job("b", cap=2), job("c", cap=2)], {"max_rows": 8}, "ab", True),
        ([job("a", cap=1), job("b")], {"max_rows": 8}, "a", True),
        ([job("a"), job("b", cap=1)], {"max_rows": 8}, "a", True),
        ([job("a", cap=2), job("b")], {"max_rows": 8, "is_ahead": True}, "", False),
    ],
)
def test_the_batch_is_the_longest_prefix_that_fits_together(queue, limits, taken, is_full):
    choice = choose(queue, **limits)

    assert (ids(choice.taken), choice.is_full) == (taken, is_full)


def test_what_came_too_late_is_set_apart_and_does_not_stop_the_rest():
    choice = choose([job("a", late=True), job("b"), job("c", late=True), job("d")], max_rows=4)

    assert (ids(choice.late), ids(choice.taken)) == ("ac", "bd")


def test_a_more_urgent_job_of_another_shape_is_never_skipped():
    choice = choose([job("a", "big"), job("b", "small"), job("c", "big")], max_rows=64)

    assert ids(choice.taken) == "a"
