"""One pass of placement: needs and what is held in; places, and who must give up theirs, out. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from inference.resources.fit import Board, Holding, Need, Room, Size, Where
from inference.resources.preempt import Evictable, is_soon_free

TOP = 10
"""The highest priority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`evictions`: victims that one pass may put out; a first need may exceed it, or it would wait for ever.

    `ageing_s`: so long a wait counts as one level of priority more in the order of placement, never in an eviction;
    0: waiting counts for nothing.
    """

    evictions: int = 8
    ageing_s: float = 0.0


class Refusal(StrEnum):
    """Why a need has no place.

    LATER: the budget of this pass is used up. SOON: it fits when those are gone who leave anyway.
    """

    NO_ROOM = "no_room"
    LATER = "later"
    SOON = "soon"


@dataclass(frozen=True, slots=True)
class Placement:
    """`holding` has its place, or is promised it once the `victims` are gone. `size`: what it will have then."""

    need: Need
    holding: Holding
    size: Size
    victims: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """By the id of the need. `board`: as it is with the placements."""

    placed: dict[str, Placement]
    refused: dict[str, Refusal]
    board: Board


class Planner:
    """Places needs one after the other, each on what the ones before it left. For one thread."""

    def __init__(self, rooms: Iterable[Room], holdings: Iterable[Holding] = (), limits: Limits = Limits()) -> None:
        held = list(holdings)
        self.board = Board(rooms, held)
        self._leaving = [holding for holding in held if holding.is_leaving]
        self._limits = limits
        self._left = limits.evictions
        self._evictable: Evictable | None = None
        self._refused: dict[tuple[Where, bool], list[Need]] = {}

    def place(self, need: Need) -> Placement | Refusal:
        """The best free place; else the cheapest eviction of strictly lower priorities that makes one."""
        board = self.board
        spot = board.find(need)
        if spot is not None:
            holding = board.take(need, spot)
            return Placement(need, holding, holding.size)
        if not need.may_evict:
            return Refusal.NO_ROOM
        shape = need.where, need.size.is_whole
        if any(_asks_no_less(need, other) for other in self._refused.get(shape, ())):
            return Refusal.NO_ROOM  # one who asked for less, and might evict more, found nothing
        if self._leaving and is_soon_free(self.board, need, self._leaving):
            return Refusal.SOON
        found = self._evict(need)
        if found is Refusal.NO_ROOM:
            self._refused.setdefault(shape, []).append(need)
        return found

    def _evict(self, need: Need) -> Placement | Refusal:
        if self._evictable is None:
            self._evictable = Evictable(self.board)
        chosen = self._evictable.choose(need)
        if chosen is None:
            return Refusal.NO_ROOM
        is_first = self._left == self._limits.evictions > 0
        if len(chosen.victims) > self._left and not is_first:
            return Refusal.LATER
        self._left -= len(chosen.victims)
        self._evictable.drop(chosen.victims)
        size = self.board.size_at(need, chosen.spot)
        held = held_now(size, chosen.victims, on_card=self.board.device(chosen.spot))
        return Placement(need, self.board.take(need, chosen.spot, held=held), size, chosen.victims)


def plan(rooms: Iterable[Room], holdings: Iterable[Holding], needs: Iterable[Need], limits: Limits = Limits()) -> Plan:
    """Who goes where, in order of priority, then age. The order of the arguments' items plays no part."""
    planner = Planner(rooms, holdings, limits)
    placed: dict[str, Placement] = {}
    refused: dict[str, Refusal] = {}
    for need in sorted(needs, key=lambda need: (-rank(need, limits), need.born, need.id)):
        found = planner.place(need)
        if isinstance(found, Placement):
            placed[need.id] = found
        else:
            refused[need.id] = found
    return Plan(placed=placed, refused=refused, board=planner.board)


def rank(need: Need, limits: Limits) -> float:
    """The priority that counts for the order: one level more for every `ageing_s` of waiting, up to the top."""
    if limits.ageing_s <= 0:
        return need.priority
    return max(need.priority, min(TOP, need.priority + need.waiting_s // limits.ageing_s))


def _asks_no_less(need: Need, other: Need) -> bool:
    mine, yours = need.size, other.size
    return (
        need.priority <= other.priority
        and mine.card_bytes >= yours.card_bytes
        and mine.cpu_milli >= yours.cpu_milli
        and mine.memory_bytes >= yours.memory_bytes
    )


def held_now(size: Size, victims: Iterable[Holding], *, on_card: str) -> Size:
    """The part of `size` that need not wait for the victims: they hold the rest until they are gone.

    So the sum of all that is held never exceeds what there is, and what is promised is never given to others.
    """
    card = cpu = memory = 0
    for victim in victims:
        card += victim.size.card_bytes if victim.device == on_card else 0
        cpu += victim.size.cpu_milli
        memory += victim.size.memory_bytes
    return Size(
        card_bytes=max(0, size.card_bytes - card),
        cpu_milli=max(0, size.cpu_milli - cpu),
        memory_bytes=max(0, size.memory_bytes - memory),
        is_whole=size.is_whole,
    )
