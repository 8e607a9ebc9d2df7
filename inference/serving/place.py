"""Where a replica goes: nodes and what is reserved on them in, a node and device out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference.serving.model import Node, Requirements, ServiceConfig

CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one replica of a service asks of a place."""

    service_id: str
    requirements: Requirements = field(default_factory=Requirements)
    provider: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a replica that is there, or on its way, holds."""

    service_id: str
    node_id: str
    device: str
    requirements: Requirements = field(default_factory=Requirements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`device`: cpu, or the UUID of a GPU."""

    node_id: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPlace:
    """Why there is none, and what a person can do."""

    reason: str
    suggested_action: str


def need_of(service_id: str, config: ServiceConfig) -> Need:
    return Need(service_id=service_id, requirements=config.requirements, provider=config.provider)


def place(need: Need, nodes: Sequence[Node], reservations: Sequence[Reservation]) -> Place | NoPlace:
    """The living node with room that has the fewest replicas of this service, then the fewest at all.

    `gpu: 1` takes a GPU for itself. Without it, replicas share: provider `cuda` on the GPU with the fewest,
    `auto` there too if one is free to share and the node has the runtime for it, else on the CPU.
    """
    alive = [node for node in nodes if node.is_alive]
    if not alive:
        return NoPlace(
            reason="No node is alive: none has sent a heartbeat lately.",
            suggested_action="Start a node agent: `./penstock up` has one, `./penstock node` starts one alone.",
        )
    best: tuple[tuple[bool, int, int, str], Place] | None = None
    for node in alive:
        here = [held for held in reservations if held.node_id == node.id]
        device = _device(need, node, here)
        if device is None or not _has_room(need.requirements, node, here):
            continue
        mates = sum(held.service_id == need.service_id for held in here)
        rank = (need.provider == "auto" and device == CPU, mates, len(here), node.id)
        if best is None or rank < best[0]:
            best = (rank, Place(node_id=node.id, device=device))
    return best[1] if best else _explain(need, alive, reservations)


def _device(need: Need, node: Node, here: Sequence[Reservation]) -> str | None:
    if need.provider == CPU and not need.requirements.gpu:
        return CPU
    wants_alone = need.requirements.gpu > 0
    free = []
    for gpu in node.inventory.get("gpus", ()):
        holders = [held for held in here if held.device == gpu["uuid"]]
        if not any(held.requirements.gpu for held in holders) and not (wants_alone and holders):
            free.append((len(holders), str(gpu["uuid"])))
    must = wants_alone or need.provider == "cuda"
    if free and (must or node.inventory.get("can_cuda")):
        return min(free)[1]
    return None if must else CPU


def _free(node: Node, here: Sequence[Reservation]) -> tuple[float, int]:
    """CPUs and bytes that nobody has reserved."""
    inventory: Mapping[str, Any] = node.inventory
    cpu = float(inventory.get("cpus", 0)) - sum(held.requirements.cpu for held in here)
    memory = int(inventory.get("memory_bytes", 0)) - sum(held.requirements.memory_bytes for held in here)
    return cpu, memory


def _has_room(need: Requirements, node: Node, here: Sequence[Reservation]) -> bool:
    """What asks for nothing always fits."""
    cpu, memory = _free(node, here)
    return (need.cpu <= cpu or not need.cpu) and (need.memory_bytes <= memory or not need.memory_bytes)


def _explain(need: Need, alive: Sequence[Node], reservations: Sequence[Reservation]) -> NoPlace:
    wants = need.requirements
    if (wants.gpu or need.provider == "cuda") and not any(node.inventory.get("gpus") for node in alive):
        return NoPlace(
            reason="A GPU is asked for, and no living node has one.",
            suggested_action="Set provider to auto or cpu and gpu to 0, or add a node with a GPU.",
        )
    largest = [_free(node, [held for held in reservations if held.node_id == node.id]) for node in alive]
    cpu, memory = max(free[0] for free in largest), max(free[1] for free in largest)
    if (not wants.cpu or wants.cpu <= cpu) and (not wants.memory_bytes or wants.memory_bytes <= memory):
        return NoPlace(
            reason="No node has a free GPU and the rest of what is asked for.",
            suggested_action="Stop or shrink a service that holds a GPU, or add a node.",
        )
    return NoPlace(
        reason=f"No node has room for {_size(wants.cpu, wants.memory_bytes)}: at most {_size(cpu, memory)} is free.",
        suggested_action="Lower resource_requirements, stop or shrink another service, or add a node.",
    )


def _size(cpu: float, memory: float) -> str:
    return f"{cpu:g} CPUs and {memory / (1 << 30):.1f} GiB"
