"""From instances to replicas, and from a service to what its policy may answer."""

import dataclasses

import pytest

from inference.scaling.act import began, limits_of, room_for, target_of
from inference.scaling.model import Memory, Schedule
from inference.scaling.ports import Target
from inference.serving.model import AutoScaling, Desired, Observed, Replica, Service, ServiceConfig, ServiceState

SERVICE = Service(
    id="s",
    tenant_id="t",
    name="s",
    model_id="m",
    state=ServiceState.RUNNING,
    config=ServiceConfig(auto_scaling=AutoScaling(enabled=True, max_replicas=4, max_instances=4)),
    revision=1,
    created_at=0.0,
    updated_at=0.0,
    started_at=50.0,
)
REPLICA = Replica(
    id="r",
    service_id="s",
    ordinal=0,
    node_id="n",
    device="cpu",
    desired=Desired.RUNNING,
    observed=Observed.READY,
    generation=1,
    revision=1,
    instances=2,
    instances_ready=2,
    load_failures=0,
    restarts=0,
)


def scaling(low, high, low_each=1, high_each=1):
    return AutoScaling(
        enabled=True, min_replicas=low, max_replicas=high, min_instances=low_each, max_instances=high_each
    )


@pytest.mark.parametrize(
    ("wanted", "limits", "replicas", "instances"),
    [
        (0, scaling(0, 4), 0, 1),
        (0, scaling(1, 4), 1, 1),
        (1, scaling(0, 4, 1, 4), 1, 1),
        (4, scaling(0, 4, 1, 4), 1, 4),
        (5, scaling(0, 4, 1, 4), 2, 3),
        (8, scaling(0, 4, 1, 4), 2, 4),
        (99, scaling(0, 4, 1, 4), 4, 4),
        (1, scaling(2, 4, 2, 4), 2, 2),
        (3, scaling(1, 1, 1, 2), 1, 2),
    ],
)
def test_a_replica_is_filled_before_another_is_asked_for(wanted, limits, replicas, instances):
    assert target_of(wanted, limits) == Target(replicas=replicas, instances=instances)


def test_limits_count_the_instances_of_all_replicas():
    config = dataclasses.replace(
        SERVICE.config.auto_scaling,
        min_replicas=1,
        min_instances=2,
        schedules=({"cron": "0 8 * * *", "min_replicas": 3},),
    )
    service = dataclasses.replace(SERVICE, config=ServiceConfig(auto_scaling=config))

    limits = limits_of(service, room=5, affordable=7)

    assert (limits.min_instances, limits.max_instances, limits.ceiling) == (2, 16, 5)
    assert limits.schedules == (Schedule(cron="0 8 * * *", min_instances=6, duration_s=3600.0),)


@pytest.mark.parametrize(
    ("advice", "unmet_s", "target", "expected"),
    [
        ("add a node", 6.0, 3, 2),
        ("add a node", 1.0, 3, None),
        (None, 60.0, 3, None),
        ("add a node", 60.0, 2, None),
    ],
    ids=["refused for a while", "refused just now", "nobody said so", "all there"],
)
def test_room_is_known_once_a_target_was_refused_for_a_while(advice, unmet_s, target, expected):
    service = dataclasses.replace(
        SERVICE, suggested_action=advice, target_replicas=1, target_instances=target, reason="no node has room"
    )

    assert room_for(service, [REPLICA], unmet_s=unmet_s) == expected


def test_a_service_that_was_started_keeps_the_size_of_its_config_for_a_while():
    memory = Memory(needs=((10.0, 3), (20.0, 1)))

    after = began(SERVICE, memory)

    assert after.needs == ((10.0, 3), (50.0, 1))
    assert after.marks == {"wanted": 1.0, "calm_since_s": 50.0}
