"""What a service asks of a place, in the planner's words; and why there is none, in a person's."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.resources.fit import Board, Need, Room, Size, Where
from inference.resources.leases import room_of
from inference.resources.plan import Refusal
from inference.serving.model import Node, Requirements, Service, ServiceState

_WAITING = frozenset({ServiceState.DEPLOYING, ServiceState.PREEMPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPlace:
    """Why there is none, and what a person can do."""

    reason: str
    suggested_action: str


def rooms_of(nodes: Iterable[Node]) -> list[Room]:
    """What the living nodes have to give."""
    return [room_of(node.id, node.inventory) for node in nodes if node.is_alive]


def size_of(wants: Requirements) -> Size:
    """What a replica with these requirements takes. `gpu` without `gpu_memory` is a card for itself."""
    return Size(
        card_bytes=wants.gpu_memory_bytes,
        cpu_milli=math.ceil(wants.cpu * 1000),
        memory_bytes=wants.memory_bytes,
        is_whole=bool(wants.gpu) and not wants.gpu_memory_bytes,
    )


def where_of(wants: Requirements, provider: str) -> Where:
    """A card only where one is asked for, or can be used."""
    if wants.gpu or wants.gpu_memory_bytes or provider == "cuda":
        return Where.CARD
    return Where.CPU if provider == "cpu" else Where.EITHER


def needs_of(
    service: Service, count: int, *, now: float, may_evict: bool = True, card_bytes: int | None = None
) -> list[Need]:
    """So many more replicas. Only the wait of a service that has none yet, or has none any more, counts as one.

    `card_bytes`: what each takes of a card, where the config leaves that open.
    """
    config = service.config
    size, where = size_of(config.requirements), where_of(config.requirements, config.provider)
    if card_bytes is not None:
        size = dataclasses.replace(size, card_bytes=card_bytes)
    waiting_s = max(0.0, now - service.updated_at) if service.state in _WAITING else 0.0
    return [
        Need(
            id=f"{service.id}.{number:03}",
            group=service.id,
            size=size,
            where=where,
            priority=config.priority,
            born=service.created_at,
            waiting_s=waiting_s,
            may_evict=may_evict,
        )
        for number in range(count)
    ]


def explain(need: Need, refusal: Refusal, board: Board) -> NoPlace:
    """Why this need has no place on that board."""
    if not board.rooms:
        return NoPlace(
            reason="No node is alive: none has sent a heartbeat lately.",
            suggested_action="Start a node agent: `./penstock up` has one, `./penstock node` starts one alone.",
        )
    if refusal is Refusal.LATER:
        return NoPlace(
            reason="It waits for its turn: as many replicas as are allowed at once are on their way out for others.",
            suggested_action="Nothing needs to be done: it goes on when they are gone.",
        )
    if refusal is Refusal.SOON:
        return NoPlace(
            reason="It waits for room that others are about to leave.",
            suggested_action="Nothing needs to be done: their running batches end first.",
        )
    if need.where is Where.CARD and not board.cards:
        return NoPlace(
            reason="A GPU is asked for, and no living node has one.",
            suggested_action="Set provider to auto or cpu and gpu to 0, or add a node with a GPU.",
        )
    return _too_little(need, board)


def _too_little(need: Need, board: Board) -> NoPlace:
    size = need.size
    cpu, memory = max(board.cpu), max(board.memory)
    if (size.cpu_milli and size.cpu_milli > cpu) or (size.memory_bytes and size.memory_bytes > memory):
        free = _amount(cpu, memory)
        return NoPlace(
            reason=f"No node has room for {_amount(size.cpu_milli, size.memory_bytes)}: at most {free} is free.",
            suggested_action="Lower resource_requirements, stop or shrink another service, or add a node.",
        )
    most = max((card.memory_bytes for _, card in board.cards), default=0)
    if need.where is Where.CARD and size.card_bytes > most:
        return NoPlace(
            reason=f"No GPU has {gib(size.card_bytes)}: the largest has {gib(most)}.",
            suggested_action="Lower gpu_memory, or add a node with a larger GPU.",
        )
    advice = "Stop or shrink a service that holds a GPU, raise the priority of this one, or add a node."
    free_bytes = _free_bytes(board)
    if size.card_bytes > free_bytes and not size.is_whole:
        asked = f"No GPU has {gib(size.card_bytes)} free: at most {gib(free_bytes)} is."
        return NoPlace(reason=asked, suggested_action=advice)
    return NoPlace(reason="No node has a free GPU and the rest of what is asked for.", suggested_action=advice)


def _free_bytes(board: Board) -> int:
    """Of the emptiest card that may be shared."""
    shared: Sequence[int] = [free for free, wholes in zip(board.free, board.wholes, strict=True) if not wholes]
    return max(0, max(shared, default=0))


def _amount(cpu_milli: int, memory_bytes: int) -> str:
    return f"{cpu_milli / 1000:g} CPUs and {gib(memory_bytes)}"


def gib(size: int) -> str:
    """As a person reads it."""
    return f"{size / (1 << 30):.1f} GiB"
