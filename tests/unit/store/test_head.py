"""A claim begins past the dead entries of a queue only while there are many and it is slow to walk over them."""

import pytest

from inference.store.head import MANY, PAUSE, PAUSE_LIMIT_S, SLOW_S, VERY_HEAD, Head

SLOW = 0.05


def after_a_look(*, took_s: float = SLOW, dead: int = MANY) -> Head:
    """One at the very head, at second 0, that found key 7 first."""
    head = Head()
    head.looked(VERY_HEAD, first=7.0, dead=dead, took_s=took_s, now_s=0.0)
    return head


@pytest.mark.parametrize(
    ("dead", "took_s", "begins"),
    [(0, 60.0, VERY_HEAD), (MANY - 1, SLOW, VERY_HEAD), (MANY, SLOW_S / 2, VERY_HEAD), (MANY, SLOW_S, 7.0)],
)
def test_a_look_begins_past_the_head_when_the_last_one_was_slow_and_much_is_dead(dead, took_s, begins):
    head = after_a_look(dead=dead, took_s=took_s)

    assert head.begin(0.001) == begins


def test_each_look_past_the_head_moves_the_key_to_what_it_found_first():
    head = after_a_look()

    head.looked(7.0, first=9.0, dead=MANY, took_s=0.001, now_s=0.01)

    assert head.begin(0.02) == 9.0


def test_the_very_head_is_looked_at_again_after_twenty_times_what_that_takes():
    head = after_a_look(took_s=SLOW)

    assert head.begin(PAUSE * SLOW - 0.001) == 7.0
    assert head.begin(PAUSE * SLOW) == VERY_HEAD


def test_nobody_before_the_key_waits_longer_than_the_limit():
    head = after_a_look(took_s=60.0)

    assert head.begin(PAUSE_LIMIT_S) == VERY_HEAD


def test_a_look_that_found_nothing_is_followed_by_one_at_the_very_head():
    head = after_a_look()

    head.looked(7.0, first=None, dead=MANY, took_s=0.001, now_s=0.01)

    assert head.begin(0.01) == VERY_HEAD


def test_once_a_vacuum_has_come_every_look_is_at_the_very_head():
    head = after_a_look()

    head.looked(7.0, first=9.0, dead=0, took_s=0.001, now_s=0.01)

    assert head.begin(0.01) == VERY_HEAD
