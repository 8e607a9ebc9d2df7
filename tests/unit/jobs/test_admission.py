"""Quotas that new jobs count against: counted rarely, exceeded never by one process alone."""

import time

import pytest

from inference.access import quotas as quotas_of
from inference.access import tally
from inference.access.model import ANYBODY, Limits, Principal, Reach, Role, Scope
from inference.access.quotas import Quotas
from inference.errors import BacklogFull, QuotaExceeded, StoreUnavailable
from inference.jobs.admission import BacklogQuota
from inference.settings import AccessSettings
from tests.fakes_access import FakeUsage


class Counting:
    """A store that says how many wait, of the tenant or of a key."""

    def __init__(self, waiting=0, **of_keys):
        self.count, self.of_keys, self.calls = waiting, of_keys, 0

    def waiting(self, tenant_id, by_key=False):
        self.calls += 1
        return {None: self.count, **(self.of_keys if by_key else {})}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(tally, "monotonic_s", made)
    return made


def holder(key_id="k", *, key=None, tenant=None):
    return Principal(
        name=key_id,
        role=Role.SUBMITTER,
        scope=Scope("t"),
        reach=Reach.TENANT,
        key_id=key_id,
        limits=Limits(**key or {}),
        tenant_limits=Limits(**tenant or {}),
    )


def admission(store=None, usage=None, *, limit=1_000_000, **settings):
    quotas = Quotas(usage or FakeUsage(), AccessSettings(**settings), jobs_waiting=limit)
    return BacklogQuota(store or Counting(), quotas)


def test_the_quota_counts_what_it_let_in_without_asking_again():
    store = Counting()
    quota = admission(store, limit=100)

    for _ in range(10):
        quota.admit(ANYBODY, jobs=10, payload_bytes=0)
    with pytest.raises(BacklogFull) as refusal:
        quota.admit(ANYBODY, jobs=1, payload_bytes=0)

    assert store.calls == 1
    assert refusal.value.details == {"of": "tenant", "waiting": 100, "limit": 100, "retry_after_s": 5}


def test_a_refused_submission_does_not_count_as_waiting():
    quota = admission(limit=10)

    with pytest.raises(BacklogFull):
        quota.admit(ANYBODY, jobs=11, payload_bytes=0)

    quota.admit(ANYBODY, jobs=10, payload_bytes=0)


def test_room_that_was_made_is_seen_within_a_second(clock):
    store = Counting(waiting=10)
    quota = admission(store, limit=10)
    with pytest.raises(BacklogFull):
        quota.admit(ANYBODY, jobs=1, payload_bytes=0)

    store.count, clock.now = 5, clock.now + 1

    quota.admit(ANYBODY, jobs=5, payload_bytes=0)


def test_a_count_that_is_due_is_taken_beside_the_requests(clock):
    store = Counting()
    quota = admission(store, limit=10)
    quota.admit(ANYBODY, jobs=1, payload_bytes=0)
    store.count, clock.now = 9, clock.now + 11

    quota.admit(ANYBODY, jobs=1, payload_bytes=0)
    while store.calls < 2 or quota._waiting.used(tally.Bound("tenant", ANYBODY.scope.tenant_id, None, 10)) < 9:
        time.sleep(0.001)

    with pytest.raises(BacklogFull):
        quota.admit(ANYBODY, jobs=2, payload_bytes=0)


def test_a_key_s_limit_counts_its_own_jobs_alone():
    quota = admission(Counting(waiting=50, greedy=3))
    greedy, other = holder("greedy", key={"jobs_waiting": 5}), holder("other", key={"jobs_waiting": 5})

    quota.admit(other, jobs=5, payload_bytes=0)
    with pytest.raises(BacklogFull) as refusal:
        quota.admit(greedy, jobs=3, payload_bytes=0)

    assert (refusal.value.details["of"], refusal.value.details["waiting"]) == ("key", 3)


def test_a_tenant_s_own_limit_stands_before_the_setting():
    quota = admission(limit=10)

    quota.admit(holder(tenant={"jobs_waiting": 100}), jobs=50, payload_bytes=0)


def test_what_one_quota_refuses_counts_against_no_other():
    usage = FakeUsage()
    quota = admission(Counting(), usage)
    by = holder(key={"jobs_waiting": 1, "bytes_stored": 10})

    for _ in range(3):
        with pytest.raises(BacklogFull):
            quota.admit(by, jobs=2, payload_bytes=10)

    quota.admit(by, jobs=1, payload_bytes=10)


def test_bytes_beyond_the_quota_are_refused_with_what_is_used():
    usage = FakeUsage()
    usage.bytes = 95
    quota = admission(usage=usage)
    by = holder(tenant={"bytes_stored": 100})

    quota.admit(by, jobs=1, payload_bytes=5)
    with pytest.raises(QuotaExceeded) as refusal:
        quota.admit(by, jobs=1, payload_bytes=1)

    assert refusal.value.details == {
        "of": "tenant",
        "quota": "bytes_stored",
        "limit": 100,
        "used": 100,
        "retry_after_s": 60,
    }
    assert usage.reads == 1


def test_engine_time_that_is_used_up_comes_back_at_midnight_utc(monkeypatch):
    monkeypatch.setattr(quotas_of, "epoch_s", lambda: 20_000 * 86_400 + 86_000.0)
    usage = FakeUsage()
    usage.engine = 7.5
    quota = admission(usage=usage, gpu_seconds_per_day=7.5)

    with pytest.raises(QuotaExceeded) as refusal:
        quota.admit(holder(), jobs=1, payload_bytes=0)

    assert refusal.value.details["retry_after_s"] == 400
    assert (refusal.value.details["quota"], refusal.value.details["used"]) == ("gpu_seconds_per_day", 7.5)


def test_a_caller_without_limits_costs_no_query():
    usage, store = FakeUsage(), Counting()
    quota = admission(store, usage, limit=0)

    quota.admit(holder(), jobs=10**7, payload_bytes=10**12)
    quota.admit(ANYBODY, jobs=10**7, payload_bytes=10**12)

    assert (usage.reads, store.calls) == (0, 0)


def test_an_open_system_has_no_quota_but_that_of_waiting_jobs():
    usage = FakeUsage()
    usage.engine = usage.bytes = 10**9
    quota = admission(usage=usage, bytes_stored=1, gpu_seconds_per_day=1)

    quota.admit(ANYBODY, jobs=1, payload_bytes=10**6)

    assert usage.reads == 0


def test_a_slow_count_is_taken_less_often(clock):
    class Slow(Counting):
        def waiting(self, tenant_id, by_key=False):
            clock.now += 3
            return super().waiting(tenant_id, by_key)

    store = Slow()
    quota = admission(store, limit=10)
    quota.admit(ANYBODY, jobs=1, payload_bytes=0)

    clock.now += 100
    quota.admit(ANYBODY, jobs=1, payload_bytes=0)

    assert store.calls == 1


def test_the_first_count_needs_the_database():
    class Away(Counting):
        def waiting(self, tenant_id, by_key=False):
            raise StoreUnavailable("away", part="sql")

    with pytest.raises(StoreUnavailable):
        admission(Away()).admit(ANYBODY, jobs=1, payload_bytes=0)


def test_what_is_used_is_told_for_each_quota_that_holds():
    usage = FakeUsage()
    usage.bytes, usage.engine = 10, 2.5
    quota = admission(Counting(waiting=4, k=3), usage, gpu_seconds_per_day=60)

    used = quota.used(holder(key={"jobs_waiting": 5, "bytes_stored": 100}))

    assert used == {
        "key": {"jobs_waiting": 3, "bytes_stored": 10},
        "tenant": {"jobs_waiting": 4, "gpu_seconds_per_day": 2.5},
    }


def test_one_count_serves_a_tenant_and_all_of_its_keys():
    store = Counting(waiting=100, k1=60, k2=40)
    quota = admission(store)

    for n in range(50):
        quota.admit(holder(f"k{n}", key={"jobs_waiting": 1000}), jobs=1, payload_bytes=0)

    assert store.calls == 1


def test_the_first_key_with_a_limit_has_its_tenant_counted_by_key():
    store = Counting(waiting=100, k=60)
    quota = admission(store)
    quota.admit(holder(), jobs=1, payload_bytes=0)

    with pytest.raises(BacklogFull) as refusal:
        quota.admit(holder(key={"jobs_waiting": 60}), jobs=1, payload_bytes=0)

    assert (refusal.value.details["waiting"], store.calls) == (60, 2)
