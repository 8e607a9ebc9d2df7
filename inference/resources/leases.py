"""Leases: what each replica holds of its node and card, from before it starts until its memory is back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from inference.resources.fit import CPU, NOTHING, Card, Holding, Room, Size
from inference.resources.plan import held_now


class LeaseState(StrEnum):
    """`unloading`: its process has ended, and its memory may not be back yet. A lease that is released has no row."""

    RESERVED = "reserved"
    ALLOCATED = "allocated"
    UNLOADING = "unloading"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """`held`: what nobody else can have now. `wanted`: what it will hold once those who leave for it are gone.

    `for_id`: the replica for which this one was put out; it takes over what is released. Times are epoch seconds by
    the database's clock. `owner_pid`, `owner_started`: the process behind it, by its id and the kernel's start time,
    so that a later process of the same id is not taken for it; None before the first start.
    """

    replica_id: str
    service_id: str
    node_id: str
    device: str
    state: LeaseState
    held: Size
    wanted: Size
    for_id: str | None = None
    reserved_at: float = 0.0
    allocated_at: float | None = None
    unloading_at: float | None = None
    owner_pid: int | None = None
    owner_started: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A lease to be reserved. `victims`: replicas on the same node that are put out for it in the same instant."""

    replica_id: str
    service_id: str
    node_id: str
    device: str
    size: Size = NOTHING
    victims: tuple[str, ...] = ()


def room_of(node_id: str, inventory: Mapping[str, Any]) -> Room:
    """What the node with this inventory has to give."""
    return Room(
        id=node_id,
        cpu_milli=round(1000 * float(inventory.get("cpus", 0))),
        memory_bytes=int(inventory.get("memory_bytes", 0)),
        cards=tuple(
            Card(id=str(gpu["uuid"]), memory_bytes=int(gpu.get("memory_bytes", 0))) for gpu in inventory.get("gpus", ())
        ),
        can_cuda=bool(inventory.get("can_cuda")),
    )


def grant(room: Room, leases: Iterable[Lease], ask: Ask) -> Size | None:
    """What the asker holds from now on; None when the room, or one of the victims, is gone.

    `leases`: all of the node, read under a lock that keeps others from changing them. What a victim holds stays with
    it until it is gone, so that the sum of the leases of a device never exceeds its memory, whoever looks when.
    """
    here = list(leases)
    victims = [lease for lease in here if lease.replica_id in ask.victims and lease.for_id is None]
    cards = {card.id: card.memory_bytes for card in room.cards}
    if len(victims) != len(ask.victims) or (ask.device != CPU and ask.device not in cards):
        return None
    staying = [lease for lease in here if lease not in victims]
    size, mates = ask.size, [lease for lease in staying if lease.device == ask.device]
    if ask.device != CPU:
        if any(lease.held.is_whole for lease in mates) or (size.is_whole and mates):
            return None
        if size.card_bytes > cards[ask.device] - sum(lease.held.card_bytes for lease in mates):
            return None
    if size.cpu_milli and size.cpu_milli > room.cpu_milli - sum(lease.held.cpu_milli for lease in staying):
        return None
    if size.memory_bytes and size.memory_bytes > room.memory_bytes - sum(lease.held.memory_bytes for lease in staying):
        return None
    return held_now(size, map(_holding, victims), on_card=ask.device)


def extended(room: Room, leases: Iterable[Lease], replica_id: str, *, card_bytes: int) -> Lease | None:
    """The replica's lease with that much of its card at least; None without one, and where too little is left.

    `leases`: all of the node, as for `grant`. One that holds no card, or all of it, has enough.
    """
    here = list(leases)
    mine = next((lease for lease in here if lease.replica_id == replica_id), None)
    if mine is None or mine.device == CPU or mine.held.is_whole or card_bytes <= mine.wanted.card_bytes:
        return mine
    more = card_bytes - mine.wanted.card_bytes
    total = next((card.memory_bytes for card in room.cards if card.id == mine.device), 0)
    if more > total - sum(lease.held.card_bytes for lease in here if lease.device == mine.device):
        return None
    held = replace(mine.held, card_bytes=mine.held.card_bytes + more)
    return replace(mine, held=held, wanted=replace(mine.wanted, card_bytes=card_bytes))


def _holding(lease: Lease) -> Holding:
    return Holding(
        id=lease.replica_id, group=lease.service_id, node_id=lease.node_id, device=lease.device, size=lease.held
    )


def is_back(lease: Lease, *, since: float, now: float, is_real: bool, wait_s: float) -> bool:
    """Whether the memory of one whose process ended at `since` may be given to the next.

    A driver gives it back half a second to one and a half after the process. `is_real`: there is a driver behind the
    device; main memory, and the memory of devices that are only written down, is back at once.
    """
    return lease.device == CPU or not is_real or lease.owner_pid is None or now - since >= wait_s
