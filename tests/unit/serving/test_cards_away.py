"""Cards that are lost or gone under their replicas, as the reconciler sees it: living nodes in, moves out."""

import dataclasses

from inference.resources.model import DeviceState, SeenDevice
from inference.serving import reconcile
from inference.serving.model import Desired, Node, Observed, ServiceState
from tests.unit.resources.devices import device
from tests.unit.serving.test_preemption import CARD, gone, ready, replicas_of, running, service, states


def lose(ports, *left, state=DeviceState.LOST):
    """The node lists these cards alone from now on, and says of GPU-0 what has become of it."""
    gpus = [CARD | {"uuid": uuid} for uuid in left]
    ports.nodes.rows = [Node(id="n1", host="n1", inventory={"cpus": 2, "gpus": gpus}, heartbeat_at=0.0)]
    seen = device(uuid="GPU-0", state=state)
    ports.devices.rows = [SeenDevice(node_id="n1", device=seen, reported_at=0.0, is_alive=True)]


def test_what_ran_on_a_lost_card_is_ended_there_and_begins_on_another():
    ports = running(service("s"), cards=2)
    lose(ports, "GPU-1")

    reconcile.run(ports)

    assert {one.device: one.desired for one in replicas_of(ports, "s")} == {
        "GPU-0": Desired.STOPPED,
        "GPU-1": Desired.RUNNING,
    }
    gone(ports, "s")
    ready(ports, "s")
    assert [(one.device, one.observed) for one in replicas_of(ports, "s")] == [("GPU-1", Observed.READY)]
    assert list(ports.leases.rows) == [one.id for one in replicas_of(ports, "s")]


def test_where_there_is_no_other_card_it_waits_and_names_the_lost_one_until_that_is_back():
    for state in (DeviceState.LOST, DeviceState.GONE):
        ports = running(service("s"))
        lose(ports, state=state)
        reconcile.run(ports)
        gone(ports, "s")

        waiting = ports.services.rows["s"]
        lose(ports, "GPU-0", state=DeviceState.OK)
        reconcile.run(ports)
        ready(ports, "s")

        assert waiting.state is ServiceState.RUNNING
        assert f"GPU GPU-0 of node n1 is {state.value}." in waiting.reason
        assert "Bring that GPU back" in waiting.suggested_action
        assert [one.device for one in replicas_of(ports, "s")] == ["GPU-0"]
        assert ports.services.rows["s"].suggested_action is None


def test_a_model_that_cannot_load_on_a_lost_card_is_no_error_of_the_service():
    ports = running(service("s"), cards=2)
    (there,) = replicas_of(ports, "s")
    ports.replicas.rows[there.id] = dataclasses.replace(there, observed=Observed.FAILED, reason="no such device")
    lose(ports, "GPU-1")

    reconcile.run(ports)

    assert states(ports) == {"s": ServiceState.RUNNING}
    assert [one.device for one in replicas_of(ports, "s")] == ["GPU-1"]


def test_a_node_that_has_not_told_of_its_cards_yet_loses_none():
    ports = running(service("s"))
    ports.nodes.rows = [Node(id="n1", host="n1", inventory={"cpus": 2}, heartbeat_at=0.0)]

    reconcile.run(ports)

    assert [one.desired for one in replicas_of(ports, "s")] == [Desired.RUNNING]
