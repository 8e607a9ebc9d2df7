"""Requests per second: by key and by tenant, in one process and in several."""

import dataclasses

import pytest

from inference.access import rates, sharing
from inference.access.model import ANYBODY, Limits, Principal, Reach, Role, Scope
from inference.access.rates import Rates
from inference.access.sharing import Sharing
from inference.errors import RateLimited
from inference.settings import AccessSettings
from tests.fakes_access import FakeCounts


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(rates, "monotonic_s", made)
    monkeypatch.setattr(sharing, "monotonic_s", made)
    return made


def holder(key_id="k", *, key=None, tenant=None, tenant_id="t"):
    return Principal(
        name=key_id,
        role=Role.SUBMITTER,
        scope=Scope(tenant_id),
        reach=Reach.TENANT,
        key_id=key_id,
        limits=Limits(requests_per_s=key),
        tenant_limits=Limits(requests_per_s=tenant),
    )


def process(counts=None, **settings):
    """The rates of one process, and what shares them."""
    shared = Sharing(counts or FakeCounts(), every_s=0)
    return Rates(shared, AccessSettings(**settings)), shared


def let_in(counted, by, times):
    """How many of so many requests came through."""
    passed = 0
    for _ in range(times):
        try:
            counted.count(by)
        except RateLimited:
            continue
        passed += 1
    return passed


def test_a_second_s_worth_comes_through_at_once_and_then_the_rate(clock):
    counted, _ = process()
    by = holder(key=10)

    at_once = let_in(counted, by, 100)
    clock.now += 0.5
    later = let_in(counted, by, 100)

    assert (at_once, later) == (10, 5)


@pytest.mark.parametrize("limit", [0.5, 1])
def test_a_limit_of_one_or_less_lets_one_through_at_a_time(clock, limit):
    counted, _ = process()
    by = holder(key=limit)

    first = let_in(counted, by, 3)
    clock.now += 1 / limit + 0.001

    assert (first, let_in(counted, by, 3)) == (1, 1)


def test_the_refusal_says_what_was_exceeded_and_when_it_may_work(clock):
    counted, _ = process()
    by = holder(key=0.5)
    counted.count(by)

    with pytest.raises(RateLimited) as refusal:
        counted.count(by)

    assert refusal.value.details == {"of": "key", "limit_per_s": 0.5, "retry_after_s": 2.0}


def test_all_keys_of_a_tenant_share_its_limit(clock):
    counted, _ = process()

    passed = [let_in(counted, holder(name, tenant=10), 6) for name in ("one", "two")]
    other = let_in(counted, holder("three", tenant=10, tenant_id="other"), 6)

    assert (passed, other) == ([6, 4], 6)


def test_what_the_tenant_s_limit_refuses_does_not_count_for_the_key(clock):
    counted, _ = process()
    let_in(counted, holder("greedy", tenant=5), 5)
    by = holder("mine", key=5, tenant=5)

    refused = let_in(counted, by, 20)
    clock.now += 1

    assert (refused, let_in(counted, by, 20)) == (0, 5)


def test_a_tenant_without_a_limit_of_its_own_has_that_of_the_settings(clock):
    counted, _ = process(requests_per_s=3)

    assert let_in(counted, holder(), 10) == 3
    assert let_in(counted, holder(tenant=7, tenant_id="other"), 10) == 7


def test_a_limit_of_nothing_lets_nothing_through(clock):
    counted, _ = process()

    assert let_in(counted, holder(key=0), 3) == 0


def test_a_system_without_keys_has_no_limit(clock):
    counted, _ = process(requests_per_s=1)

    assert let_in(counted, ANYBODY, 1000) == 1000


def test_two_processes_hold_one_limit_together(clock):
    counts, by = FakeCounts(), holder(key=10)
    pair = [process(counts), process(counts)]

    passed = 0
    for _ in range(40 * 4):
        clock.now += 0.25
        for counted, _ in pair:
            passed += let_in(counted, by, 10)
        for _, shared in pair:
            shared.share()

    assert 10 * 40 <= passed <= 10 * 40 + 2 * 10 + 10


def test_a_process_that_has_rested_is_not_held_to_what_others_did_meanwhile(clock):
    counts, by = FakeCounts(), holder(key=10)
    (busy, tells), (resting, hears) = process(counts), process(counts)
    resting.count(by)
    hears.share()

    for _ in range(4 * 60):
        clock.now += 0.25
        let_in(busy, by, 1)
        tells.share()
    hears.share()

    assert let_in(resting, by, 4) == 4


def test_without_redis_each_process_counts_alone_and_tells_later(clock):
    counts, by = FakeCounts(), holder(key=10)
    (one, tells), (other, hears) = process(counts), process(counts)
    one.count(by), tells.share(), other.count(by), hears.share(), tells.share()

    counts.is_away = True
    clock.now += 1
    passed = [let_in(counted, by, 100) for counted in (one, other)]
    tells.share(), hears.share()
    counts.is_away = False
    tells.share(), hears.share()
    clock.now += 0.5

    assert passed == [10, 10]
    assert let_in(other, by, 100) < 5


def test_what_nobody_uses_is_forgotten(clock):
    counts = FakeCounts()
    counted, shared = process(counts)
    counted.count(holder(key=10))
    was_shared = shared.share()

    clock.now += sharing.FORGET_S + 1

    assert (was_shared, shared.share(), counted._buckets) == (True, False, {})


def test_a_slow_limit_is_not_forgotten_before_its_time(clock):
    counted, shared = process()
    by = holder(key=0.01)
    counted.count(by)
    shared.share()

    clock.now += 50
    shared.share()

    assert let_in(counted, by, 1) == 0


def test_another_limit_holds_from_the_next_request_on(clock):
    counted, _ = process()
    by = holder(key=1)
    counted.count(by)

    wider = dataclasses.replace(by, limits=Limits(requests_per_s=100))

    assert let_in(counted, wider, 200) >= 90


def test_the_thread_starts_with_the_first_limited_request_and_ends_with_the_process():
    counts = FakeCounts()
    shared = Sharing(counts, every_s=0.005)
    counted = Rates(shared, AccessSettings())

    counted.count(holder())
    was_started = shared._thread is not None
    counted.count(holder(key=100))
    while not counts.counts:
        pass
    shared.close()

    assert not was_started
    assert counts.counts == {"r:key:k": 1}
    assert not shared._thread.is_alive()
