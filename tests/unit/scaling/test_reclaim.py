"""Who is sent to rest: a table of services that nobody needs, and of those that somebody soon will."""

import dataclasses

import pytest

from inference.scaling import reclaim, wake
from inference.scaling.reclaim import is_room_wanted, pause_of, reason_to_rest
from inference.serving.model import AutoScaling, Observed, ServiceConfig, ServiceState
from tests import fakes
from tests.fakes_scaling import make_scaling
from tests.unit.scaling.test_act import REPLICA, SERVICE
from workers.tasks.control import run_reclaim


def service(**config):
    return dataclasses.replace(SERVICE, config=ServiceConfig(**config))


@pytest.mark.parametrize(
    ("config", "idle_s", "is_wanted", "pause_s", "rests"),
    [
        ({"idle_ttl_s": 60.0}, 59.0, True, None, False),
        ({"idle_ttl_s": 60.0}, 60.0, True, None, True),
        ({"idle_ttl_s": 60.0}, 600.0, False, None, False),
        ({"idle_ttl_s": 60.0, "idle_reclaim": "strict"}, 60.0, False, None, True),
        ({"idle_ttl_s": 60.0, "idle_reclaim": "strict"}, 60.0, False, 80.0, False),
        ({"idle_ttl_s": 60.0, "idle_reclaim": "strict"}, 60.0, False, 100.0, True),
        ({"idle_ttl_s": 60.0, "idle_reclaim": "strict"}, 161.0, False, 80.0, True),
        ({}, 9_999.0, True, None, False),
    ],
    ids=[
        "not idle for long enough",
        "idle, and its room is wanted",
        "idle, and nobody wants its room",
        "strict asks for no pressure",
        "the next comes sooner than a reload pays",
        "the next comes later than that",
        "its rhythm is broken",
        "never asked for",
    ],
)
def test_who_rests(config, idle_s, is_wanted, pause_s, rests):
    reason = reason_to_rest(
        service(**config), idle_s=idle_s, is_room_wanted=is_wanted, usual_pause_s=pause_s, start_s=10.0
    )

    assert (reason is not None) == rests


@pytest.mark.parametrize(
    ("made_at", "expected"),
    [
        ([], None),
        ([0.0, 100.0, 200.0], None),
        ([0.0, 100.0, 200.0, 300.0], 100.0),
        ([0.0, 1.0, 2.0, 100.0, 101.0, 200.0, 300.0], 99.0),
    ],
    ids=["none", "too few", "every 100 s", "bursts are one visit"],
)
def test_the_usual_pause_is_between_visits_not_between_the_jobs_of_one(made_at, expected):
    assert pause_of(made_at, start_s=10.0) == expected


def test_room_is_wanted_by_who_has_no_place_and_by_who_was_evicted():
    waits = dataclasses.replace(SERVICE, suggested_action="add a node")
    evicted = dataclasses.replace(SERVICE, state=ServiceState.PREEMPTED)

    assert not is_room_wanted([SERVICE], {})
    assert is_room_wanted([waits], {})
    assert not is_room_wanted([waits], {"s": [REPLICA]})
    assert is_room_wanted([evicted], {})


IDLE = dataclasses.replace(REPLICA, reported_at=1_000_000.0, busy_at=999_000.0)
LAZY = service(idle_ttl_s=60.0, idle_reclaim="strict")


@pytest.mark.parametrize(
    ("change", "replicas"),
    [
        ({}, [dataclasses.replace(IDLE, busy_at=999_990.0)]),
        ({}, [IDLE, dataclasses.replace(IDLE, id="r2", observed=Observed.STARTING)]),
        ({}, []),
        ({"waiting": {"s": ()}}, [IDLE]),
        ({"running": {"s": ()}}, [IDLE]),
        ({"newest": {"s": f"{999_990_000:012x}".ljust(32, "0")}}, [IDLE]),
    ],
    ids=["works", "one is starting", "rests already", "a job waits", "a job runs", "a job has just come"],
)
def test_a_service_with_anything_to_do_is_left_alone(change, replicas):
    ports = make_scaling()
    ports.store.services["s"] = LAZY
    for name, value in change.items():
        setattr(ports.store, name, value)

    assert reclaim.run(ports, [LAZY], replicas) == 0
    assert ports.store.records == []


def test_an_idle_service_rests_and_the_next_job_wakes_it():
    ports = make_scaling()
    ports.store.services["s"] = LAZY

    rested = reclaim.run(ports, [LAZY], [IDLE])
    resting = ports.store.services["s"]
    early = wake.run(ports, [resting])
    ports.store.waiting["s"] = ()
    woken = wake.run(ports, [resting])

    assert (rested, resting.is_resting, resting.wanted_replicas) == (1, True, 0)
    assert "Nothing came for 1000 s" in str(resting.target_reason)
    assert (early, woken) == (set(), {"s"})
    assert ports.store.services["s"].wanted_replicas == 1


def test_a_prediction_wakes_a_service_that_is_scaled():
    ports = make_scaling(predictions=lambda ids: dict.fromkeys(ids, 1))
    scaled = dataclasses.replace(
        SERVICE,
        config=ServiceConfig(auto_scaling=AutoScaling(enabled=True, min_replicas=0, max_replicas=2)),
        target_replicas=0,
        target_instances=1,
    )
    ports.store.services["s"] = scaled

    assert wake.run(ports, [scaled]) == {"s"}
    assert ports.store.services["s"].target_replicas == 1
    assert ports.store.records[0].reason == "0 -> 1: a prediction waits"


def test_the_beat_job_does_its_round_once_a_period():
    core = fakes.make_core()
    made = fakes.add_service(core)
    lazy = core.serving.services.rows[made.id] = dataclasses.replace(made, config=LAZY.config)
    core.scaling.store.services[made.id] = lazy
    core.serving.replicas.rows = [dataclasses.replace(IDLE, service_id=made.id)]

    core.scaling.turns.is_mine = False
    elsewhere = run_reclaim(core)
    core.scaling.turns.is_mine = True
    here = run_reclaim(core)

    assert (elsewhere, here) == (0, 1)
    assert core.scaling.store.services[made.id].is_resting
    core.close()
