"""Replicas that grow on a card which they share: with the memory for it, or not at all."""

import dataclasses

import pytest

from inference.access.model import Scope
from inference.errors import NoRoom
from inference.serving import control, reconcile
from inference.serving.model import AutoScaling, Profile, ServiceState
from tests.unit.serving.test_preemption import gone, ready, replicas_of, running, service

T = Scope("t")


def sharing(*, share=4, mate=6, **more):
    """A service and a mate on one card of 16 bytes; an instance of either was measured to take 4."""
    ports = running(service("s", share=share, **more), service("mate", share=mate))
    ports.profiles.rows = [
        Profile(
            model_id="m",
            device_kind="card",
            provider="cuda",
            max_batch=1,
            curve=(),
            measured_at=0.0,
            memory_bytes=4,
            memory_basis="measured",
        )
    ]
    return ports


def told(ports):
    """Instances and bytes of its card of the one replica of `s`."""
    (replica,) = replicas_of(ports, "s")
    return replica.instances, ports.leases.rows[replica.id].held.card_bytes


def test_what_a_replica_grows_by_is_added_to_its_lease():
    ports = sharing()

    control.scale(ports, scope=T, service_id="s", replicas=1, instances=2)
    reconcile.run(ports)

    assert told(ports) == (2, 8)


def test_what_was_asked_for_once_covers_as_many_instances_as_fit_into_it():
    ports = sharing(share=10)

    control.scale(ports, scope=T, service_id="s", replicas=1, instances=2)
    reconcile.run(ports)

    assert told(ports) == (2, 10)


@pytest.mark.parametrize("ask", [
    lambda ports: control.scale(ports, scope=T, service_id="s", replicas=1, instances=3),
    lambda ports: control.update(ports, scope=T, service_id="s", config_changes={"instances": 3}),
], ids=["scale", "update"])  # fmt: skip
def test_a_person_who_wants_more_than_the_card_has_left_is_told_so_and_nothing_changes(ask):
    ports = sharing()

    with pytest.raises(NoRoom, match="has room for 2 of 3 instances") as refused:
        ask(ports)
    reconcile.run(ports)

    assert refused.value.details == {"instances": 3, "room_for": 2}
    assert ports.services.rows["s"].config.instances == 1
    assert told(ports) == (1, 4)


def test_an_autoscaled_one_gets_what_fits_and_the_service_says_why_until_there_is_room():
    ports = sharing(auto_scaling=AutoScaling(enabled=True, max_instances=4))
    target = {"target_replicas": 1, "target_instances": 3}
    ports.services.rows["s"] = dataclasses.replace(ports.services.rows["s"], **target)

    reconcile.run(ports)
    tight, reason = told(ports), ports.services.rows["s"].reason
    ports.services.move(None, "mate", allowed=[ServiceState.RUNNING], to=ServiceState.STOPPING, reason="by request")
    reconcile.run(ports)
    gone(ports, "mate")

    assert tight == (2, 8)
    assert "has room for 2 of 3 instances" in reason
    assert told(ports) == (3, 12)
    assert ports.services.rows["s"].suggested_action is None


def test_a_replica_that_shrinks_keeps_its_share_and_grows_into_it_again():
    ports = sharing()

    for instances in (2, 1, 2):
        control.scale(ports, scope=T, service_id="s", replicas=1, instances=instances)
        reconcile.run(ports)

    assert told(ports) == (2, 8)


def test_a_new_replica_is_placed_with_what_its_instances_were_measured_to_take():
    ports = sharing()
    control.scale(ports, scope=T, service_id="s", replicas=1, instances=2)
    (first,) = replicas_of(ports, "s")
    ports.replicas.delete(first.id)

    reconcile.run(ports)
    ready(ports, "s")

    assert told(ports) == (2, 8)
