"""What services ask of a place: nodes and what is held there in, a place or a reason out."""

import pytest

from inference.resources.fit import Holding, Where
from inference.resources.plan import Refusal, plan
from inference.serving.model import Node, Requirements, Service, ServiceConfig, ServiceState
from inference.serving.place import explain, needs_of, rooms_of, size_of, where_of

GPU_A = {"uuid": "GPU-a", "name": "card", "memory_bytes": 16 << 30}
GPU_B = {"uuid": "GPU-b", "name": "card", "memory_bytes": 16 << 30}


def node(name="n1", *, cpus=2, memory=8 << 30, gpus=(), can_cuda=False, is_alive=True):
    inventory = {"cpus": cpus, "memory_bytes": memory, "gpus": list(gpus), "can_cuda": can_cuda}
    return Node(id=name, host=name, inventory=inventory, heartbeat_at=0.0, is_alive=is_alive)


def held(node_id="n1", device="cpu", service_id="other", **requirements):
    size = size_of(Requirements(**requirements))
    name = f"{node_id}{device}{service_id}{len(made)}"
    made.append(Holding(id=name, group=service_id, node_id=node_id, device=device, size=size, priority=5))
    return made[-1]


made: list[Holding] = []


def service(provider="auto", *, state=ServiceState.DEPLOYING, **requirements):
    config = ServiceConfig(provider=provider, requirements=Requirements(**requirements))
    values = {"tenant_id": "t", "name": "s", "model_id": "m", "revision": 1}
    return Service(id="s", state=state, config=config, created_at=5.0, updated_at=10.0, **values)


def placed(wanted, nodes, holdings):
    """(node, device), or the refusal in words."""
    (need,) = needs_of(wanted, 1, now=10.0)
    found = plan(rooms_of(nodes), holdings, [need])
    if need.id in found.placed:
        holding = found.placed[need.id].holding
        return holding.node_id, holding.device
    return explain(need, found.refused[need.id], found.board)


def test_what_asks_for_nothing_fits_on_a_full_node():
    crowd = [held(cpu=2, memory_bytes=8 << 30), held(), held()]

    assert placed(service(), [node()], crowd) == ("n1", "cpu")


def test_without_a_living_node_the_reason_says_so():
    found = placed(service(), [node(is_alive=False)], [])

    assert "No node is alive" in found.reason
    assert "penstock node" in found.suggested_action


def test_reservations_are_never_exceeded():
    found = placed(service(cpu=1.5), [node()], [held(cpu=1)])

    assert "at most 1 CPUs" in found.reason
    assert "resource_requirements" in found.suggested_action


def test_memory_counts_as_well():
    nodes = [node("n1"), node("n2", memory=32 << 30)]

    assert placed(service(memory_bytes=16 << 30), nodes, []) == ("n2", "cpu")


def test_replicas_of_one_service_are_spread():
    nodes = [node("n1"), node("n2")]
    taken = [held("n1", service_id="s"), held("n2"), held("n2"), held("n2")]

    assert placed(service(), nodes, taken) == ("n2", "cpu")


def test_the_emptier_node_is_chosen_otherwise():
    assert placed(service(), [node("n1"), node("n2")], [held("n1")]) == ("n2", "cpu")


def test_a_whole_gpu_goes_to_one_replica():
    nodes = [node(gpus=[GPU_A, GPU_B])]

    assert placed(service(gpu=1), nodes, [held(device="GPU-a")]) == ("n1", "GPU-b")
    full = placed(service(gpu=1), nodes, [held(device="GPU-a"), held(device="GPU-b")])
    assert "No node has a free GPU" in full.reason


def test_a_gpu_that_is_held_alone_is_not_shared():
    nodes = [node(gpus=[GPU_A, GPU_B], can_cuda=True)]
    both = [held(device="GPU-a", gpu=1), held(device="GPU-b", gpu=1)]

    assert placed(service("cuda"), nodes, both[:1]) == ("n1", "GPU-b")
    assert "No node has a free GPU" in placed(service("cuda"), nodes, both).reason
    assert placed(service("auto"), nodes, both) == ("n1", "cpu")


def test_shared_gpus_fill_evenly_when_nobody_says_how_much_memory_is_needed():
    nodes = [node(gpus=[GPU_A, GPU_B], can_cuda=True)]

    assert placed(service("cuda"), nodes, [held(device="GPU-a")]) == ("n1", "GPU-b")


def test_a_part_of_a_gpu_goes_where_least_is_left():
    nodes = [node(gpus=[GPU_A, GPU_B])]
    holdings = [held(device="GPU-b", gpu_memory_bytes=10 << 30)]

    assert placed(service(gpu=1, gpu_memory_bytes=6 << 30), nodes, holdings) == ("n1", "GPU-b")
    for_now = placed(service(gpu=1, gpu_memory_bytes=15 << 30), [node(gpus=[GPU_B])], holdings)
    for_ever = placed(service(gpu=1, gpu_memory_bytes=17 << 30), nodes, holdings)
    assert for_now.reason == "No GPU has 15.0 GiB free: at most 6.0 GiB is."
    assert for_ever.reason == "No GPU has 17.0 GiB: the largest has 16.0 GiB."


def test_auto_takes_a_gpu_only_where_the_runtime_can_use_it():
    assert placed(service(), [node(gpus=[GPU_A])], []) == ("n1", "cpu")
    assert placed(service(), [node(gpus=[GPU_A], can_cuda=True)], []) == ("n1", "GPU-a")
    assert placed(service("cpu"), [node(gpus=[GPU_A], can_cuda=True)], []) == ("n1", "cpu")


def test_auto_prefers_the_node_with_the_gpu():
    nodes = [node("n1"), node("n2", gpus=[GPU_A], can_cuda=True)]

    assert placed(service(), nodes, [held("n2"), held("n2")]) == ("n2", "GPU-a")


def test_a_gpu_that_does_not_exist_is_named_as_the_reason():
    assert "no living node has one" in placed(service(gpu=1), [node()], []).reason


def test_a_turn_that_comes_later_is_told():
    (need,) = needs_of(service(gpu=1), 1, now=10.0)

    told = explain(need, Refusal.LATER, plan(rooms_of([node(gpus=[GPU_A])]), [], []).board)

    assert "waits for its turn" in told.reason


@pytest.mark.parametrize(
    ("state", "waiting_s"),
    [(ServiceState.DEPLOYING, 90.0), (ServiceState.PREEMPTED, 90.0), (ServiceState.RUNNING, 0.0)],
)
def test_only_who_has_nothing_yet_or_any_more_is_said_to_wait(state, waiting_s):
    (need,) = needs_of(service(state=state), 1, now=100.0)

    assert need.waiting_s == waiting_s


def test_gpu_memory_alone_means_a_card_too():
    wants = Requirements(gpu_memory_bytes=1 << 30)

    assert (where_of(wants, "auto"), size_of(wants).is_whole) == (Where.CARD, False)
    assert size_of(Requirements(gpu=1)).is_whole
