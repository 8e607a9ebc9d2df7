"""Figures that are counted now and then: what is given back, and who asks for parts."""

from inference.access.tally import Bound, Tally

OF_TENANT = Bound("tenant", "acme", None, 100.0)
OF_KEY = Bound("key", "acme", "k1", 100.0)


def test_what_is_given_back_after_a_new_count_makes_no_room_that_is_not_there():
    tally = Tally(lambda tenant_id, by_key: {None: 0.0}, every_s=60.0)
    tally.admit([OF_TENANT], 10.0)

    for _ in range(3):
        tally.give_back([OF_TENANT], 50.0)

    assert tally.used(OF_TENANT) == 0.0


def test_a_late_count_of_the_whole_does_not_forget_the_parts_of_keys():
    def count(tenant_id, by_key):
        return {None: 7.0, "k1": 7.0} if by_key else {None: 7.0}

    tally = Tally(count, every_s=0.0)
    tally.admit([OF_TENANT], 0.0)
    known = tally._tenants["acme"]
    assert tally.admit([OF_KEY], 0.0) is None

    tally._count_later("acme", known)

    assert tally._tenants["acme"].by_key
    assert tally.used(OF_KEY) == 7.0
