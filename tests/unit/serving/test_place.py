"""Placement: a table of nodes and reservations in, a place or a reason out."""

from inference.serving.model import Node, Requirements
from inference.serving.place import Need, NoPlace, Place, Reservation, place

GPU_A = {"uuid": "GPU-a", "name": "card", "memory_bytes": 1 << 34}
GPU_B = {"uuid": "GPU-b", "name": "card", "memory_bytes": 1 << 34}


def node(name="n1", *, cpus=2, memory=8 << 30, gpus=(), can_cuda=False, is_alive=True):
    inventory = {"cpus": cpus, "memory_bytes": memory, "gpus": list(gpus), "can_cuda": can_cuda}
    return Node(id=name, host=name, inventory=inventory, heartbeat_at=0.0, is_alive=is_alive)


def held(node_id="n1", device="cpu", service_id="other", **requirements):
    return Reservation(service_id=service_id, node_id=node_id, device=device, requirements=Requirements(**requirements))


def need(provider="auto", **requirements):
    return Need(service_id="s", provider=provider, requirements=Requirements(**requirements))


def test_what_asks_for_nothing_fits_on_a_full_node():
    crowd = [held(cpu=2, memory_bytes=8 << 30), held(), held()]

    assert place(need(), [node()], crowd) == Place(node_id="n1", device="cpu")


def test_without_a_living_node_the_reason_says_so():
    found = place(need(), [node(is_alive=False)], [])

    assert isinstance(found, NoPlace)
    assert "No node is alive" in found.reason
    assert "penstock node" in found.suggested_action


def test_reservations_are_never_exceeded():
    found = place(need(cpu=1.5), [node()], [held(cpu=1)])

    assert isinstance(found, NoPlace)
    assert "at most 1 CPUs" in found.reason
    assert "resource_requirements" in found.suggested_action


def test_memory_counts_as_well():
    nodes = [node("n1"), node("n2", memory=32 << 30)]

    assert place(need(memory_bytes=16 << 30), nodes, []) == Place(node_id="n2", device="cpu")


def test_replicas_of_one_service_are_spread():
    nodes = [node("n1"), node("n2")]
    taken = [held("n1", service_id="s"), held("n2"), held("n2"), held("n2")]

    assert place(need(), nodes, taken) == Place(node_id="n2", device="cpu")


def test_the_emptier_node_is_chosen_otherwise():
    assert place(need(), [node("n1"), node("n2")], [held("n1")]) == Place(node_id="n2", device="cpu")


def test_a_whole_gpu_goes_to_one_replica():
    nodes = [node(gpus=[GPU_A, GPU_B])]

    assert place(need(gpu=1), nodes, [held(device="GPU-a")]) == Place(node_id="n1", device="GPU-b")
    assert isinstance(place(need(gpu=1), nodes, [held(device="GPU-a"), held(device="GPU-b")]), NoPlace)


def test_a_gpu_that_is_held_alone_is_not_shared():
    nodes = [node(gpus=[GPU_A, GPU_B], can_cuda=True)]

    assert place(need(provider="cuda"), nodes, [held(device="GPU-a", gpu=1)]) == Place(node_id="n1", device="GPU-b")
    both = [held(device="GPU-a", gpu=1), held(device="GPU-b", gpu=1)]
    assert isinstance(place(need(provider="cuda"), nodes, both), NoPlace)
    assert place(need(provider="auto"), nodes, both) == Place(node_id="n1", device="cpu")


def test_shared_gpus_fill_evenly():
    nodes = [node(gpus=[GPU_A, GPU_B], can_cuda=True)]

    assert place(need(provider="cuda"), nodes, [held(device="GPU-a")]) == Place(node_id="n1", device="GPU-b")


def test_auto_takes_a_gpu_only_where_the_runtime_can_use_it():
    assert place(need(), [node(gpus=[GPU_A])], []) == Place(node_id="n1", device="cpu")
    assert place(need(), [node(gpus=[GPU_A], can_cuda=True)], []) == Place(node_id="n1", device="GPU-a")
    assert place(need(provider="cpu"), [node(gpus=[GPU_A], can_cuda=True)], []) == Place(node_id="n1", device="cpu")


def test_auto_prefers_the_node_with_the_gpu():
    nodes = [node("n1"), node("n2", gpus=[GPU_A], can_cuda=True)]

    assert place(need(), nodes, [held("n2"), held("n2")]) == Place(node_id="n2", device="GPU-a")


def test_a_gpu_that_does_not_exist_is_named_as_the_reason():
    found = place(need(gpu=1), [node()], [])

    assert isinstance(found, NoPlace)
    assert "no living node has one" in found.reason
