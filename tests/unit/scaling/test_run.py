"""The autoscaler's turns over figures in memory: what it asks for, what it writes, and what it keeps."""

import dataclasses

import pytest

from inference.scaling.model import Unfinished
from inference.scaling.ports import Ended
from inference.scaling.run import Autoscaler
from inference.scaling.signals import expected_s
from inference.serving.model import AutoScaling, Profile, ServiceConfig
from inference.serving.quota import Allowed
from tests.fakes_scaling import make_scaling
from tests.unit.scaling.test_act import REPLICA, SERVICE

SCALED = dataclasses.replace(
    SERVICE,
    config=ServiceConfig(
        auto_scaling=AutoScaling(
            enabled=True, min_replicas=0, max_replicas=1, max_instances=4, objective_s=10.0, hold_down_s=20.0
        )
    ),
    started_at=999_999.0,
)
ONE = dataclasses.replace(REPLICA, instances=1, instances_ready=1, began_at=0.0, ready_at=2.0)


@pytest.fixture
def ports():
    made = make_scaling()
    made.store.services["s"] = SCALED
    made.store.rows = [ONE]
    return made


def burst(store, jobs=100, *, run_s=1.0):
    store.waiting["s"] = (Unfinished(priority=5, jobs=jobs, oldest_s=1.0),)
    store.newest["s"] = f"{int(store.now * 1000) - 500:012x}".ljust(32, "0")
    store.came["s"] = [store.now - 0.5] * jobs
    store.jobs_ended = [Ended(service_id="s", at=store.now, latency_s=run_s, run_s=run_s, batch_size=1)]


def test_a_burst_becomes_one_decision_with_its_figures(ports):
    burst(ports.store)
    scaler = Autoscaler(ports, name="a")

    first, second = scaler.turn(), scaler.turn()

    (record,) = ports.store.records
    assert (first, second) == (1, 0)
    assert (record.from_instances, record.to_replicas, record.to_instances) == (1, 1, 4)
    assert (record.policy, "100 jobs wait" in record.reason) == ("slo_drain", True)
    assert '"arrivals_5s":100' in record.signals
    assert '"start_s":2.0' in record.signals


def test_a_quiet_service_is_looked_at_seldom_and_rests_when_its_hold_down_is_over(ports):
    scaler, store = Autoscaler(ports, name="a"), ports.store

    for _ in range(15):
        scaler.turn()
        store.now += 1.0
    asked = len(store.asked)
    store.now += 60.0
    scaler.turn()

    assert asked == 0
    assert store.services["s"].is_resting
    assert [record.to_replicas for record in store.records] == [0]


def test_a_service_that_is_started_anew_has_its_hold_down_before_it_rests_again(ports):
    scaler, store = Autoscaler(ports, name="a"), ports.store
    store.now += 100.0
    scaler.turn()
    rested = store.services["s"]
    store.services["s"] = dataclasses.replace(rested, target_replicas=None, started_at=store.now)

    store.now += 10.0
    scaler.turn()
    soon = store.services["s"].is_resting
    store.now += 70.0
    scaler.turn()

    assert (rested.is_resting, soon, store.services["s"].is_resting) == (True, False, True)


def test_who_does_not_hold_the_duty_decides_nothing_but_wakes_who_rests(ports):
    burst(ports.store)
    ports.turns.is_mine = False
    scaler = Autoscaler(ports, name="a")

    assert scaler.turn() == 0
    ports.store.services["s"] = dataclasses.replace(SCALED, target_replicas=0, target_instances=1)
    assert scaler.turn() == 1
    assert ports.store.services["s"].target_replicas == 1


def test_a_process_that_takes_over_goes_on_with_what_was_saved(ports):
    burst(ports.store)
    Autoscaler(ports, name="a").turn()
    ports.store.waiting.clear()
    ports.store.jobs_ended = []
    ports.store.now += 10.0

    second = Autoscaler(ports, name="b")
    second.turn()

    assert ports.store.saved["s"].work_s == 1.0
    assert ports.store.services["s"].target_instances == 4


def test_one_that_is_new_knows_the_bursts_of_its_last_day_and_asks_for_them_once(ports):
    store, asked = ports.store, []
    burst_at, before = store.now - 3600.0, store.now - 90_000.0
    store.made["s"] = [*(burst_at for _ in range(40)), *(before for _ in range(99))]
    reading = store.made_at
    store.made_at = lambda service_id, limit: asked.append(limit) or reading(service_id, limit=limit)

    first = Autoscaler(ports, name="a")
    first.turn()
    second = Autoscaler(ports, name="b")
    second.turn()

    assert [(jobs, at) for _, jobs, at in first._windows["s"].memory.peaks] == [(40.0, burst_at)] * 3
    assert second._windows["s"].memory.peaks == first._windows["s"].memory.peaks
    assert asked == [100_000]


def test_each_job_is_counted_once_however_many_turns_there_are(ports):
    burst(ports.store, 10)
    scaler = Autoscaler(ports, name="a")

    for _ in range(3):
        scaler.turn()
        ports.store.now += 1.0

    window = scaler._windows["s"]
    assert window.within(60, ports.store.now) == 10
    assert len(window.ended) == 1


def test_predictions_that_wait_count_as_the_most_urgent_work(ports):
    waiting = make_scaling(ports.store, predictions=lambda ids: dict.fromkeys(ids, 50))
    ports.store.jobs_ended = [Ended(service_id="s", at=ports.store.now, latency_s=1, run_s=1.0, batch_size=1)]

    Autoscaler(waiting, name="a").turn()

    assert ports.store.services["s"].target_instances == 4
    assert '"priority":9,"jobs":50' in ports.store.records[0].signals


def test_predictions_that_are_answered_keep_a_service_awake(ports):
    ports.store.jobs_ended = [Ended(service_id="s", at=ports.store.now, latency_s=1, run_s=1.0, batch_size=1)]
    answers = make_scaling(ports.store, predicted=lambda: {"s": 0.4})
    scaler = Autoscaler(answers, name="a")

    for _ in range(100):
        scaler.turn()
        ports.store.now += 1.0

    assert 20 <= scaler._windows["s"].within(60, ports.store.now) <= 25
    assert not ports.store.services["s"].is_resting


def test_a_budget_caps_what_is_asked_for(ports):
    burst(ports.store)
    capped = make_scaling(ports.store, affordable=lambda services: {"s": 2})

    Autoscaler(capped, name="a").turn()

    assert ports.store.services["s"].target_instances == 2
    assert "the budget pays for 2" in ports.store.records[0].reason


MANY = dataclasses.replace(
    SCALED,
    config=ServiceConfig(
        auto_scaling=AutoScaling(enabled=True, min_replicas=0, max_replicas=8, objective_s=10.0, hold_down_s=20.0)
    ),
)
WORDS = "its tenant may have 2 replicas in all"


def within(ports, replicas):
    """The same store, in a tenant that may have so many replicas of each service."""
    return make_scaling(ports.store, allowed=lambda service: Allowed(replicas=replicas, words=WORDS))


@pytest.mark.parametrize(("allowed", "expected", "is_capped"), [(2, 2, True), (1, 1, True), (8, 8, False)])
def test_a_quota_caps_what_is_asked_for_and_says_so_once(ports, allowed, expected, is_capped):
    ports.store.services["s"] = MANY
    burst(ports.store)
    scaler = Autoscaler(within(ports, allowed), name="a")

    changed = sum(scaler.turn() for _ in range(5))

    assert changed == (expected > 1)
    assert ports.store.services["s"].wanted_replicas == expected
    assert len(ports.store.records) == 1
    assert (WORDS in ports.store.records[0].reason) is is_capped


def test_a_service_at_rest_is_not_woken_beyond_the_quota_and_says_so_once_until_there_is_room(ports):
    ports.store.services["s"] = dataclasses.replace(MANY, target_replicas=0, target_instances=1)
    burst(ports.store)
    ports.turns.is_mine = False
    full = within(ports, 0)
    full.turns.is_mine = False

    changed = sum(Autoscaler(full, name="a").turn() for _ in range(3))
    refused = ports.store.services["s"]
    woken = Autoscaler(ports, name="a").turn()

    assert (changed, refused.is_resting, len(ports.store.records)) == (0, True, 2)
    assert refused.target_reason == f"0 -> 0: a job waits; more replicas were wanted, {WORDS}"
    assert (woken, ports.store.services["s"].wanted_replicas) == (1, 1)


def test_one_that_only_rests_comes_back_as_a_whole_or_waits(ports):
    lazy = dataclasses.replace(SERVICE, config=ServiceConfig(replicas=2, idle_ttl_s=60.0), target_replicas=0)
    ports.store.services["s"] = lazy
    burst(ports.store)

    first = Autoscaler(within(ports, 1), name="a").turn(), ports.store.services["s"].is_resting
    second = Autoscaler(within(ports, 2), name="a").turn(), ports.store.services["s"].wanted_replicas

    assert (first, second) == ((0, True), (1, 2))


@pytest.mark.parametrize(("jobs", "expected"), [(0, 0.01), (1, 0.01), (9, 0.005), (500, 0.0025)])
def test_before_anything_ran_the_curve_of_the_model_says_how_long_a_job_takes(jobs, expected):
    curve = ((1, 10.0, 12.0), (8, 40.0, 50.0), (16, 40.0, 50.0))
    profile = Profile(model_id="m", device_kind="cpu", provider="cpu", max_batch=16, curve=curve, measured_at=0.0)

    assert expected_s(profile, jobs=jobs) == pytest.approx(expected)
    assert expected_s(None, jobs=jobs) is None
