"""Places in the queue, by key and weight."""

import dataclasses

import pytest

from inference.access import sharing
from inference.access.model import ANYBODY
from inference.access.sharing import Sharing
from inference.errors import StoreUnavailable
from inference.jobs import fair
from inference.jobs.fair import AHEAD_S, FairOrder, places, row_s
from inference.jobs.model import JobSpec
from inference.serving.model import Profile
from tests.contract.test_fair import OneService, holder
from tests.fakes_access import FakeCounts

NOW = 1_800_000_000.0


def profile(*curve, max_batch=64, measured_at=1.0):
    return Profile(
        model_id="m", device_kind="cpu", provider="", max_batch=max_batch, curve=curve, measured_at=measured_at
    )


def specs(count, **options):
    return [JobSpec(payload=b"", rows=1, bucket="", **options) for _ in range(count)]


def process(counts=None):
    shared = Sharing(counts or FakeCounts(), every_s=0)
    return FairOrder(OneService(), shared), shared


@pytest.mark.parametrize(
    ("costs", "chain", "expected"),
    [
        ([1.0, 1.0, 1.0], {"last": 0.0, "free_at": 0.0}, [100.0, 101.0, 102.0]),
        ([1.0], {"last": 90.0, "free_at": 91.0}, [100.0]),
        ([1.0, 2.0], {"last": 104.0, "free_at": 105.0}, [105.0, 106.0]),
        ([1.0], {"last": 0.0, "free_at": 10**6}, [100.0 + AHEAD_S]),
        ([1.0, 1.0], {"last": 200.0 + AHEAD_S, "free_at": 0.0}, [200.0 + AHEAD_S] * 2),
    ],
)
def test_each_job_takes_its_place_after_the_one_before(costs, chain, expected):
    assert places(costs, now=100.0, **chain)[0] == expected


@pytest.mark.parametrize(
    ("profiles", "max_batch", "expected_ms"),
    [
        ([], None, 1.0),
        ([profile()], None, 1.0),
        ([profile((1, 4.0, 5.0), (8, 8.0, 9.0), (64, 32.0, 40.0))], None, 0.5),
        ([profile((1, 4.0, 5.0), (8, 8.0, 9.0), (64, 32.0, 40.0))], 8, 1.0),
        ([profile((1, 4.0, 5.0), (8, 8.0, 9.0), (64, 32.0, 40.0), max_batch=1)], None, 4.0),
        ([profile((16, 8.0, 9.0))], 4, 0.5),
        ([profile((1, 4.0, 5.0)), profile((1, 2.0, 3.0), measured_at=2.0)], None, 2.0),
    ],
)
def test_a_row_costs_what_it_does_in_batches_of_the_service(profiles, max_batch, expected_ms):
    assert row_s(profiles, max_batch) == pytest.approx(expected_ms / 1000)


def test_who_has_no_key_stands_where_it_comes():
    order, _ = process()

    assert order.places(ANYBODY, OneService.service, specs(3), now=NOW) == [NOW] * 3


def test_places_follow_rows_weight_and_instances():
    order, _ = process()
    service = dataclasses.replace(
        OneService.service, config=dataclasses.replace(OneService.service.config, replicas=2, instances=2)
    )
    large = JobSpec(payload=b"", rows=40, bucket="")

    given = order.places(holder("a", weight=2.0), service, [large, large], now=NOW)

    assert given[1] - given[0] == pytest.approx(0.001 * 40 / 4 / 2, rel=1e-3)


def test_a_batch_of_several_priorities_has_a_chain_for_each():
    order, _ = process()
    mixed = [*specs(2, priority=0), *specs(2, priority=9), *specs(1, priority=0)]

    given = order.places(holder("a"), OneService.service, mixed, now=NOW)

    assert [round((place - NOW) * 1000) for place in given] == [0, 1, 0, 1, 2]


def test_places_never_go_back_even_when_the_clock_does():
    order, _ = process()

    first = order.places(holder("a"), OneService.service, specs(3), now=NOW)
    second = order.places(holder("a"), OneService.service, specs(3), now=NOW - 7200)

    assert sorted([*first, *second]) == [*first, *second]


def test_a_key_that_runs_far_ahead_is_held_within_an_hour():
    order, _ = process()

    given = order.places(holder("a", weight=0.001), OneService.service, specs(10_000), now=NOW)

    assert given[-1] == NOW + AHEAD_S


def test_two_processes_move_a_key_s_places_on_together(monkeypatch):
    monkeypatch.setattr(fair, "monotonic_s", lambda: 50.0)
    monkeypatch.setattr(sharing, "monotonic_s", lambda: 50.0)
    counts, by = FakeCounts(), holder("a")
    (one, tells), (other, hears) = process(counts), process(counts)
    for order, shared in ((one, tells), (other, hears)):
        order.places(by, OneService.service, specs(1), now=NOW)
        shared.share()

    one.places(by, OneService.service, specs(1000), now=NOW)
    tells.share(), hears.share()
    (place,) = other.places(by, OneService.service, specs(1), now=NOW)

    assert place - NOW == pytest.approx(1.0, abs=0.01)


def test_a_chain_that_has_run_off_is_forgotten(monkeypatch):
    ticks = [50.0]
    monkeypatch.setattr(fair, "monotonic_s", lambda: ticks[0])
    order, _ = process()
    order.places(holder("a"), OneService.service, specs(30_000), now=NOW)

    ticks[0] += 20
    is_kept = bool(order.taken(used_since_s=ticks[0] - 10)) and bool(order.taken(used_since_s=ticks[0] - 10))
    ticks[0] += 20

    assert is_kept
    assert order.taken(used_since_s=ticks[0] - 10) == {}
    assert not order._chains


def test_the_most_chains_are_those_used_last(monkeypatch):
    monkeypatch.setattr(fair, "MOST", 3)
    order, _ = process()
    for name in ("a", "b", "c", "a", "d"):
        order.places(holder(name), OneService.service, specs(1), now=NOW)

    assert [name[1] for name in order._chains] == ["c", "a", "d"]


def test_without_the_database_a_row_counts_as_before_or_a_millisecond(monkeypatch):
    ticks = [50.0]
    monkeypatch.setattr(fair, "monotonic_s", lambda: ticks[0])

    class Away(OneService):
        def of_model(self, model_id):
            raise StoreUnavailable("away", part="sql")

    order = FairOrder(Away(), Sharing(FakeCounts(), every_s=0))

    given = order.places(holder("a"), OneService.service, specs(2), now=NOW)

    assert given[1] - given[0] == pytest.approx(0.001, rel=1e-3)
