"""Preemption as the reconciler does it: priorities and rows in, actions out; then whole histories in fakes."""

import dataclasses

from inference.resources.leases import Ask, LeaseState
from inference.serving import reconcile
from inference.serving.model import (
    Desired,
    Node,
    Observed,
    Requirements,
    Service,
    ServiceConfig,
    ServiceState,
)
from tests.unit.serving.fakes import fake_ports

S = ServiceState
CARD = {"uuid": "GPU-0", "memory_bytes": 16, "source": "static"}
LONG_AGO = 1000.0


def service(name, *, priority=5, share=16, tenant="t", state=S.DEPLOYING, **more):
    config = ServiceConfig(priority=priority, requirements=Requirements(gpu=1, gpu_memory_bytes=share), **more)
    values = {"tenant_id": tenant, "name": name, "model_id": "m", "revision": 1, "created_at": 0.0, "updated_at": 0.0}
    return Service(id=name, state=state, config=config, **values)


def world(*services, cards=1):
    """Ports on one node with so many cards of 16 bytes."""
    ports = fake_ports()
    gpus = [CARD | {"uuid": f"GPU-{at}"} for at in range(cards)]
    ports.nodes.rows = [Node(id="n1", host="n1", inventory={"cpus": 2, "gpus": gpus}, heartbeat_at=0.0)]
    for one in services:
        ports.services.rows[one.id] = one
    return ports


def replicas_of(ports, name):
    return [replica for replica in ports.replicas.rows.values() if replica.service_id == name]


def ready(ports, name):
    """What its agent and worker would say when the model is loaded."""
    for replica in replicas_of(ports, name):
        ports.replicas.rows[replica.id] = dataclasses.replace(replica, observed=Observed.READY)
        lease = ports.leases.rows[replica.id]
        ports.leases.rows[replica.id] = dataclasses.replace(
            lease, state=LeaseState.ALLOCATED, allocated_at=lease.reserved_at + 2.0, owner_pid=7
        )
    reconcile.run(ports)


def gone(ports, name):
    """The process of its drained replica has ended."""
    for replica in replicas_of(ports, name):
        if replica.desired is Desired.STOPPED:
            ports.replicas.rows[replica.id] = dataclasses.replace(
                replica, observed=Observed.STOPPED, reported_at=ports.leases.now_s
            )
    reconcile.run(ports)


def running(*services, cards=1):
    """The services run, and long enough to be put out."""
    ports = world(*services, cards=cards)
    reconcile.run(ports)
    for one in services:
        ready(ports, one.id)
    ports.leases.now_s += LONG_AGO
    return ports


def states(ports):
    return {name: row.state for name, row in ports.services.rows.items()}


def test_a_higher_priority_puts_out_a_lower_one_which_comes_back_when_there_is_room():
    ports = running(service("low", priority=2))
    ports.services.rows["high"] = service("high", priority=8)

    reconcile.run(ports)

    assert states(ports) == {"low": S.PREEMPTED, "high": S.DEPLOYING}
    assert [replica.desired for replica in replicas_of(ports, "low")] == [Desired.STOPPED]
    assert "waits until replicas of lower priority" in ports.services.rows["high"].reason
    assert "service high" in ports.services.notes[-1].reason

    gone(ports, "low")
    ready(ports, "high")

    assert states(ports) == {"low": S.PREEMPTED, "high": S.RUNNING}
    assert replicas_of(ports, "low") == []

    ports.services.move(None, "high", allowed=[S.RUNNING], to=S.STOPPING, reason="by request")
    reconcile.run(ports)
    gone(ports, "high")

    assert states(ports) == {"low": S.DEPLOYING, "high": S.STOPPED}
    assert "resumed: there is room again" in [note.reason for note in ports.services.notes]
    ready(ports, "low")
    assert states(ports)["low"] is S.RUNNING


def test_equals_wait_and_so_does_everybody_for_who_must_not_be_put_out():
    for there in (service("there", priority=5), service("there", priority=1, preemptible=False)):
        ports = running(there)
        ports.services.rows["new"] = service("new", priority=5)

        reconcile.run(ports)

        assert states(ports) == {"there": S.RUNNING, "new": S.DEPLOYING}
        assert "No GPU has" in ports.services.rows["new"].reason


def test_nobody_is_put_out_who_has_just_come():
    ports = running(service("low", priority=1))
    ports.leases.now_s -= LONG_AGO - 59
    ports.services.rows["high"] = service("high", priority=9)

    reconcile.run(ports)
    early = states(ports)
    ports.leases.now_s += 2
    reconcile.run(ports)

    assert (early["low"], states(ports)["low"]) == (S.RUNNING, S.PREEMPTED)


def test_a_service_that_keeps_a_replica_runs_on():
    ports = running(service("low", priority=1, replicas=2), cards=2)
    ports.services.rows["high"] = service("high", priority=9)

    reconcile.run(ports)

    desired = sorted(replica.desired.value for replica in replicas_of(ports, "low"))
    assert (states(ports)["low"], desired) == (S.RUNNING, ["running", "stopped"])


def test_one_that_is_put_out_and_fits_elsewhere_never_is_preempted():
    ports = running(service("low", priority=1, share=4), cards=1)
    small = CARD | {"uuid": "GPU-1", "memory_bytes": 4}
    ports.nodes.rows[0] = dataclasses.replace(ports.nodes.rows[0], inventory={"cpus": 2, "gpus": [CARD, small]})
    ports.services.rows["high"] = service("high", priority=9)

    reconcile.run(ports)

    assert states(ports)["low"] is S.RUNNING
    assert sorted(replica.device for replica in replicas_of(ports, "low")) == ["GPU-0", "GPU-1"]


def test_another_tenant_is_not_named():
    ports = running(service("low", priority=2))
    ports.services.rows["high"] = service("high", priority=8, tenant="u")

    reconcile.run(ports)

    assert "preempted by another service, whose priority 8 is above 2" in ports.services.notes[-1].reason


def test_those_preempted_come_back_by_priority():
    ports = running(service("a", priority=2, share=8), service("b", priority=3, share=8))
    ports.services.rows["high"] = service("high", priority=8)
    reconcile.run(ports)
    gone(ports, "a")
    gone(ports, "b")
    ready(ports, "high")
    assert states(ports) == {"a": S.PREEMPTED, "b": S.PREEMPTED, "high": S.RUNNING}

    lease = next(row for row in ports.leases.rows.values() if row.service_id == "high")
    half = dataclasses.replace(lease.held, card_bytes=8)
    ports.leases.rows[lease.replica_id] = dataclasses.replace(lease, held=half, wanted=half)
    reconcile.run(ports)

    assert states(ports) == {"a": S.PREEMPTED, "b": S.DEPLOYING, "high": S.RUNNING}


def test_the_budget_holds_over_passes():
    ports = running(*(service(f"low{at}", priority=1) for at in range(3)), cards=3)
    ports = dataclasses.replace(ports, settings=dataclasses.replace(ports.settings, evictions=1))
    for at in range(3):
        ports.services.rows[f"high{at}"] = service(f"high{at}", priority=9)

    reconcile.run(ports)

    assert sorted(state.value for state in states(ports).values()).count("preempted") == 1


def test_a_real_card_is_given_on_when_its_memory_is_back():
    ports = running(service("old", priority=5))
    inventory = {"cpus": 2, "gpus": [CARD | {"source": "nvml"}]}
    ports.nodes.rows = [dataclasses.replace(ports.nodes.rows[0], inventory=inventory)]
    ports.services.rows["new"] = service("new", priority=5)
    ports.services.move(None, "old", allowed=[S.RUNNING], to=S.STOPPING, reason="by request")
    reconcile.run(ports)

    gone(ports, "old")
    early = len(replicas_of(ports, "new"))
    ports.leases.now_s += 3.0
    reconcile.run(ports)

    assert (early, len(replicas_of(ports, "new"))) == (0, 1)


def test_leases_without_a_replica_are_released_when_nothing_can_run_behind_them():
    ports = world(service("new"))
    for name, node_id, pid in (("never", "n1", None), ("silent", "n9", 7), ("lives", "n1", 7)):
        ports.leases.add(Ask(replica_id=name, service_id="x", node_id=node_id, device="GPU-0"))
        ports.leases.rows[name] = dataclasses.replace(ports.leases.rows[name], owner_pid=pid)

    reconcile.run(ports)

    assert {"never", "silent", "lives"} & ports.leases.rows.keys() == {"lives"}


def test_a_replica_without_a_lease_is_given_one():
    ports = running(service("old"))
    ports.leases.rows.clear()

    reconcile.run(ports)

    (lease,) = ports.leases.rows.values()
    assert lease.held.card_bytes == 16


def test_for_a_new_config_nobody_is_put_out_while_the_old_replica_serves():
    ports = running(service("low", priority=1, share=6), service("high", priority=9, share=8))
    ports.services.rows["high"] = dataclasses.replace(ports.services.rows["high"], revision=2)

    reconcile.run(ports)

    assert states(ports)["low"] is S.RUNNING
    assert [replica.desired for replica in replicas_of(ports, "high")] == [Desired.STOPPED]
    gone(ports, "high")
    assert [replica.revision for replica in replicas_of(ports, "high")] == [2]


def test_what_a_service_leaves_open_is_reserved_as_estimated():
    ports = world(dataclasses.replace(service("s"), config=ServiceConfig(provider="cuda", instances=2)))
    ports.models.row = dataclasses.replace(ports.models.row, estimate={"weight_bytes": 1 << 30})
    node = ports.nodes.rows[0]
    big = {"cpus": 2, "gpus": [CARD | {"memory_bytes": 8 << 30}]}
    ports.nodes.rows = [dataclasses.replace(node, inventory=big)]

    reconcile.run(ports)

    (lease,) = ports.leases.rows.values()
    assert 2 << 30 < lease.held.card_bytes < 4 << 30
