"""Which waiting jobs make the next batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.jobs.choose import Candidate, choose


def job(name, bucket="", rows=1, cap=0, late=False, key=None):
    return Candidate(id=name, bucket=bucket, rows=rows, batch_cap=cap, is_late=late, shared_key=key)


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


def test_an_input_that_is_in_the_batch_already_waits_for_that_answer():
    queue = [job("a", key="v1.x"), job("b", key="v1.x"), job("c", key="v2.x"), job("d", key="v2.x"), job("e")]

    choice = choose(queue, max_rows=8, variant="v1")
    elsewhere = choose(queue, max_rows=8)

    assert (ids(choice.taken), choice.is_full) == ("acde", False)
    assert ids(elsewhere.taken) == "abcde"


def test_behind_those_that_wait_for_answers_there_may_be_more():
    queue = [job(name, key="v1.x") for name in "abc"]

    assert choose(queue, max_rows=2, variant="v1").is_full
    assert not choose(queue, max_rows=8, variant="v1").is_full


@given(st.lists(st.sampled_from([None, "v1.a", "v1.b", "v1.c", "v2.a"]), max_size=12), st.integers(1, 12))
def test_with_keys_a_batch_has_each_input_once_in_order_and_leaves_nobody_who_could_run(keys, max_rows):
    queue = [job(chr(97 + at), key=key) for at, key in enumerate(keys)]

    choice = choose(queue, max_rows=max_rows, variant="v1")

    taken = [one.shared_key for one in choice.taken if one.shared_key and one.shared_key.startswith("v1")]
    first_left = next((one for one in queue if one not in choice.taken and one.shared_key not in taken), None)
    assert len(taken) == len(set(taken))
    assert ids(choice.taken) == "".join(sorted(ids(choice.taken)))
    assert first_left is None or len(choice.taken) == max_rows
    assert first_left is None or choice.is_full
