"""A claim begins past the dead entries of a queue only while it is slow to walk over them."""

from inference.store.head import DISTRUST_S, PAUSE, PAUSE_LIMIT_S, VERY_HEAD, Head

QUICK, SLOW = 0.001, 0.05


def slow_head(*, key: float = 7.0, took_s: float = SLOW) -> Head:
    """Of a queue where two looks at the very head were slow, the last of them at second 0."""
    head = Head()
    for _ in range(2):
        head.looked(VERY_HEAD, first=key, took_s=took_s, now_s=0.0)
    return head


def test_while_looks_are_quick_each_begins_at_the_very_head():
    head = Head()

    for _ in range(5):
        head.looked(VERY_HEAD, first=7.0, took_s=QUICK, now_s=0.0)

    assert head.begin(0.0) == VERY_HEAD


def test_one_slow_look_changes_nothing():
    head = Head()

    head.looked(VERY_HEAD, first=7.0, took_s=SLOW, now_s=0.0)

    assert head.begin(0.0) == VERY_HEAD


def test_after_slow_looks_a_look_begins_where_the_last_one_found_the_first():
    head = slow_head(key=7.0)

    began = head.begin(0.01)
    head.looked(began, first=9.0, took_s=QUICK, now_s=0.01)

    assert (began, head.begin(0.02)) == (7.0, 9.0)


def test_the_very_head_is_looked_at_again_after_five_times_what_that_takes():
    head = slow_head(took_s=SLOW)

    assert head.begin(PAUSE * SLOW - 0.001) == 7.0
    assert head.begin(PAUSE * SLOW) == VERY_HEAD


def test_nobody_before_the_key_waits_longer_than_the_limit():
    head = slow_head(took_s=60.0)

    assert head.begin(PAUSE_LIMIT_S) == VERY_HEAD


def test_a_look_that_found_nothing_is_followed_by_one_at_the_very_head():
    head = slow_head()

    head.looked(7.0, first=None, took_s=QUICK, now_s=0.01)

    assert head.begin(0.01) == VERY_HEAD


def test_looks_that_gain_nothing_show_that_the_machine_is_slow_and_not_the_walk():
    head = slow_head()

    for _ in range(3):
        head.looked(7.0, first=7.0, took_s=SLOW, now_s=0.1)
    for _ in range(5):
        head.looked(VERY_HEAD, first=7.0, took_s=SLOW, now_s=0.2)
    while_distrusted = head.begin(0.2)
    for _ in range(2):
        head.looked(VERY_HEAD, first=8.0, took_s=SLOW, now_s=0.1 + DISTRUST_S)

    assert while_distrusted == VERY_HEAD
    assert head.begin(0.1 + DISTRUST_S) == 8.0
