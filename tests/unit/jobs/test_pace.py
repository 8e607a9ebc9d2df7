"""When a waiting job may be done: by what was measured, or not at all."""

import dataclasses
import time

import pytest

from inference.jobs import pace
from inference.jobs.model import Pace
from inference.serving.model import Observed, Profile, Replica, Service, ServiceConfig, ServiceState

CURVE = ((1, 0.010), (2, 0.015), (4, 0.020))
ONE, TWO = Pace(instances=1, curve=CURVE), Pace(instances=2, curve=CURVE)


@pytest.mark.parametrize(
    ("measured", "position", "expected"),
    [
        (ONE, 0, 0.020 + 0.010),  # the batch under way, then its own
        (ONE, 1, 0.020 + 0.015),
        (ONE, 3, 0.020 + 0.020),
        (ONE, 4, 0.020 + 0.020 + 0.010),
        (TWO, 4, 0.020 + 0.020),
        (TWO, 8, 0.040 + 0.010),
        (ONE, 4000, 0.020 + 1000 * 0.020 + 0.010),
        (Pace(instances=3, curve=((8, 0.5),)), 0, 1.0),
    ],
)
def test_a_place_in_the_queue_becomes_a_time(measured, position, expected):
    assert pace.eta_s(measured, position) == pytest.approx(expected)


def test_whoever_stands_behind_is_not_promised_less():
    times = [pace.eta_s(TWO, position) for position in range(100)]

    assert times == sorted(times)


def a_service(**config):
    return Service(
        id="s", tenant_id="t", name="n", model_id="m", state=ServiceState.RUNNING, config=ServiceConfig(**config),
        revision=1, created_at=0.0, updated_at=0.0,
    )  # fmt: skip


def a_profile(measured_at=1.0, curve=((1, 10.0, 12.0), (2, 15.0, 20.0), (4, 20.0, 22.0), (8, 40.0, 45.0)), max_batch=4):
    return Profile(
        model_id="m", device_kind="cpu", provider="p", max_batch=max_batch, curve=curve, measured_at=measured_at
    )


def test_the_curve_is_cut_where_batches_are():
    assert pace.pace(a_service(), [a_profile()], instances_ready=2) == TWO
    assert pace.pace(a_service(max_batch=2), [a_profile()], instances_ready=2).curve == CURVE[:2]


def test_the_latest_measurement_counts():
    newer = a_profile(measured_at=2.0, curve=((1, 1.0, 1.0),), max_batch=1)

    assert pace.pace(a_service(), [newer, a_profile()], instances_ready=1).curve == ((1, 0.001),)


@pytest.mark.parametrize(("profiles", "ready"), [([], 1), ([a_profile()], 0), ([a_profile(curve=())], 1)])
def test_what_is_not_known_is_not_said(profiles, ready):
    assert pace.pace(a_service(), profiles, instances_ready=ready) is None


class Stores:
    """Replicas and profiles that count how often they are asked."""

    def __init__(self):
        self.asked = 0
        one = Replica(
            id="r", service_id="s", ordinal=0, node_id="n", device="cpu", desired="running", observed=Observed.READY,
            generation=1, revision=1, instances=2, instances_ready=2, load_failures=0, restarts=0,
        )  # fmt: skip
        self.rows = [one, dataclasses.replace(one, observed=Observed.DRAINING)]

    def of_service(self, service_id):
        self.asked += 1
        return self.rows

    def of_model(self, model_id):
        return [a_profile()]


def test_the_stores_are_asked_once_a_second(monkeypatch):
    stores = Stores()
    cached = pace.CachedPace(stores, stores)

    found = [cached.find(a_service()) for _ in range(5)]
    asked = stores.asked
    monkeypatch.setattr("inference.jobs.pace.monotonic_s", lambda: time.monotonic() + 2)
    cached.find(a_service())

    assert found == [TWO] * 5
    assert (asked, stores.asked) == (1, 2)
