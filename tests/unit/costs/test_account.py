"""What replicas hold of devices, which days that falls on, and what prices make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.costs import account
from inference.costs.model import Card, Occupant, Price, Purchase, Run
from inference.costs.price import EXAMPLES, in_force, plain, price_of

GIB = 1 << 30
DAY = 86_400.0
ON, SPOT, RESERVED = Purchase.ON_DEMAND, Purchase.SPOT, Purchase.RESERVED


def occupant(service="s", **changes) -> Occupant:
    plain = {"replica_id": f"r-{service}", "tenant_id": "t", "service_id": service, "node_id": "n", "device": "cpu"}
    return Occupant(**{**plain, "purchase": "on_demand", "instances": 2, "threads": 1, **changes})


def cards(**parts: float) -> dict[tuple[str, str], Card]:
    return {("n", uuid): Card(kind="NVIDIA L4", memory_bytes=24 * GIB, part=part) for uuid, part in parts.items()}


@pytest.mark.parametrize(
    ("changes", "units", "cpus"),
    [
        ({}, 2.0, 2.0),
        ({"threads": 4}, 8.0, 8.0),
        ({"cpus": 0.5}, 0.5, 0.5),
        ({"device": "a", "gpu": 1}, 1.0, 2.0),
        ({"device": "a", "gpu": 1, "gpu_memory_bytes": 6 * GIB}, 0.25, 2.0),
        ({"device": "a", "gpu_memory_bytes": 48 * GIB, "cpus": 3.0}, 1.0, 3.0),
        ({"device": "a"}, 1.0, 2.0),
        ({"device": "mig", "gpu": 1}, 0.5, 2.0),
        ({"device": "unheard of", "gpu": 1}, 1.0, 2.0),
    ],
)
def test_a_replica_holds_what_it_reserves(changes, units, cpus):
    (one,) = account.holdings([occupant(**changes)], cards(a=1.0, mig=0.5))

    assert (one.units, one.cpus) == (units, cpus)


def test_replicas_that_state_nothing_share_what_others_leave_of_a_card():
    there = [occupant("stated", device="a", gpu_memory_bytes=12 * GIB), *(occupant(f"{n}", device="a") for n in "xy")]

    assert [one.units for one in account.holdings(there, cards(a=1.0))] == [0.5, 0.25, 0.25]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5 * GIB)), max_size=5))
def test_the_parts_of_a_card_never_sum_to_more_than_its_whole(wanted):
    there = [occupant(str(n), device=uuid, gpu_memory_bytes=size) for n, (uuid, size) in enumerate(wanted)]

    held = account.holdings(there, cards(a=1.0, b=1.0))

    for uuid in "ab":
        assert sum(h.units for h, one in zip(held, there, strict=True) if one.device == uuid) <= 1 + 1e-9


@given(st.floats(0, 3 * DAY), st.floats(0, 3 * DAY))
def test_no_second_is_lost_or_counted_twice_over_midnight(since, lasts):
    found = list(account.days(since, since + lasts))

    assert sum(seconds for _, seconds in found) == pytest.approx(lasts, abs=1e-6)
    assert all(0 < seconds <= DAY for _, seconds in found)
    assert [day for day, _ in found] == sorted({day for day, _ in found})


def test_what_is_held_is_added_up_by_day_service_device_and_purchase():
    held = account.holdings(
        [occupant(), occupant(replica_id="r2"), occupant("other", device="a", gpu=1, purchase="spot")], cards(a=1.0)
    )

    rows = account.rows(held, 10 * DAY - 60, 10 * DAY + 120, [])

    assert [(r.day, r.service_id, r.device_kind, r.purchase, r.held_s) for r in rows] == [
        (9, "other", "NVIDIA L4", "spot", 60),
        (9, "s", "cpu", "on_demand", 240),
        (10, "other", "NVIDIA L4", "spot", 120),
        (10, "s", "cpu", "on_demand", 480),
    ]
    assert [r.money for r in rows] == pytest.approx(
        [60 / 3600 * 0.28, 240 / 3600 * 0.045, 120 / 3600 * 0.28, 480 / 3600 * 0.045]
    )


SET = [
    Price(device_kind="a100", purchase=ON, per_hour=10.0, valid_from=100.0),
    Price(device_kind="a100", purchase=ON, per_hour=20.0, valid_from=200.0),
    Price(device_kind="a100", purchase=SPOT, per_hour=2.0, valid_from=100.0),
    Price(device_kind="a100 sxm4 80gb", purchase=ON, per_hour=15.0, valid_from=100.0),
    Price(device_kind="l4", purchase=ON, per_hour=7.0, valid_from=100.0),
]


@pytest.mark.parametrize(
    ("kind", "purchase", "at", "per_hour"),
    [
        ("cpu", ON, 150, 0.045),
        ("cpu", SPOT, 150, 0.0158),
        ("NVIDIA A100-PCIE-40GB", ON, 50, 3.0),
        ("NVIDIA A100-PCIE-40GB", ON, 150, 10.0),
        ("NVIDIA A100-PCIE-40GB", ON, 200, 20.0),
        ("NVIDIA A100-PCIE-40GB", SPOT, 250, 2.0),
        ("NVIDIA A100-PCIE-40GB", RESERVED, 150, 10.0),
        ("NVIDIA A100-SXM4-80GB", ON, 250, 15.0),
        ("NVIDIA L40S", ON, 150, 1.9),
        ("NVIDIA L4", ON, 150, 7.0),
        ("NVIDIA H200", RESERVED, 150, 3.0),
        ("NVIDIA Something New", ON, 150, 1.0),
        ("unknown", ON, 150, 1.0),
    ],
)
def test_the_price_that_holds(kind, purchase, at, per_hour):
    assert price_of(kind, purchase, at, SET).per_hour == per_hour


def test_a_price_for_any_card_that_was_set_goes_before_the_example_of_one():
    table = [Price(device_kind="gpu", purchase=ON, per_hour=9.0)]

    assert price_of("NVIDIA H100 80GB HBM3", ON, 1.0, table).per_hour == 9.0
    assert price_of("cpu", ON, 1.0, table).per_hour == 0.045


def test_shown_are_the_prices_of_now_and_those_to_come():
    shown = [price for price in in_force(SET, 150.0) if price.device_kind == "a100"]

    assert [(p.purchase, p.per_hour, p.is_example) for p in shown] == [
        (ON, 10.0, False),
        (ON, 20.0, False),
        (RESERVED, 1.8, True),
        (SPOT, 2.0, False),
    ]


def test_every_example_is_of_a_plain_kind_and_bought_in_every_way():
    assert {plain(price.device_kind) for price in EXAMPLES} == {price.device_kind for price in EXAMPLES}
    assert len(EXAMPLES) == 3 * len({price.device_kind for price in EXAMPLES})


def test_a_job_costs_its_shares_of_engine_calls_at_the_price_of_their_time():
    gpu = {"device_kind": "NVIDIA A100-PCIE-40GB", "purchase": "on_demand", "units": 0.5, "cpus": 2.0}
    runs = [
        Run(share_s=3600.0, at=150.0, **gpu),
        Run(share_s=3600.0, at=250.0, **gpu),
        Run(share_s=3600.0, at=250.0, device_kind="cpu", purchase="never heard of", units=2.0, cpus=2.0),
    ]

    cost = account.job_cost(runs, SET)

    assert (cost.gpu_s, cost.cpu_s) == (3600.0, 21_600.0)
    assert cost.money == pytest.approx(0.5 * 10 + 0.5 * 20 + 2 * 0.045)
