"""Room on nodes and their cards: who holds what, and the tightest place for one more.

It knows nothing of services: a need and a holding belong to a `group`, whose members are spread over nodes.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

CPU = "cpu"
"""The device of what runs on no card."""


class Where(StrEnum):
    """EITHER: on a card where the node's runtime can use one, else on the CPU."""

    CPU = "cpu"
    CARD = "card"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    id: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a node has to give. CPU in thousandths of a core; `can_cuda`: its runtime can use the cards."""

    id: str
    cpu_milli: int
    memory_bytes: int
    cards: tuple[Card, ...] = ()
    can_cuda: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What something takes of its place. `is_whole`: it wants its card for itself, however much memory that has."""

    card_bytes: int = 0
    cpu_milli: int = 0
    memory_bytes: int = 0
    is_whole: bool = False


NOTHING = Size()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One who looks for a place. `priority` 1 to 10, 10 first; `born`: epoch, the elder goes first among equals."""

    id: str
    group: str
    size: Size = NOTHING
    where: Where = Where.CPU
    priority: int = 5
    born: float = 0.0
    waiting_s: float = 0.0
    may_evict: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One who has a place. `is_fixed`: it cannot be evicted now. `reload_s`: what it costs to bring it back.

    `is_leaving`: it goes anyway, and for nobody in particular; then it is fixed, too.
    Of one for whom others are still being evicted, `size` is what it already has.
    """

    id: str
    group: str
    node_id: str
    device: str = CPU
    size: Size = NOTHING
    priority: int = 5
    is_fixed: bool = False
    reload_s: float = 0.0
    is_leaving: bool = False


@dataclass(frozen=True, slots=True)
class Spot:
    """A place by number: `card` is -1 on the CPU."""

    node: int
    card: int = -1


class Board:
    """What every node and card has left, kept up to date while a plan is made. For one thread.

    Nodes and cards are numbered by id, so that the order in which they are given plays no part.
    """

    def __init__(self, rooms: Iterable[Room], holdings: Iterable[Holding] = ()) -> None:
        self.rooms = sorted(rooms, key=lambda room: room.id)
        self.cards = [(node, card) for node, room in enumerate(self.rooms) for card in sorted(room.cards, key=_card_id)]
        self.node_of = [node for node, _ in self.cards]
        self.cpu = [room.cpu_milli for room in self.rooms]
        self.memory = [room.memory_bytes for room in self.rooms]
        self.free = [card.memory_bytes for _, card in self.cards]
        self.wholes = [0] * len(self.cards)
        self.on_card: list[dict[str, Holding]] = [{} for _ in self.cards]
        self.on_node: list[dict[str, Holding]] = [{} for _ in self.rooms]
        self._node_at = {room.id: node for node, room in enumerate(self.rooms)}
        self._card_at = {(self.rooms[node].id, card.id): number for number, (node, card) in enumerate(self.cards)}
        self._mates: dict[str, dict[int, int]] = {}
        self._tight: list[int] = []
        self._empty: list[int] | None = None
        self._calm: list[int] | None = None
        self._quiet: list[int] | None = None
        for holding in holdings:
            spot = self.spot(holding.node_id, holding.device)
            if spot is not None:
                self._put(holding, spot)
        self._tight = sorted(
            self._key(self.free[card], card) for card in range(len(self.cards)) if not self.wholes[card]
        )

    def spot(self, node_id: str, device: str) -> Spot | None:
        """None for a node that is not on the board; a card that is gone leaves the node's part of it."""
        node = self._node_at.get(node_id)
        return None if node is None else Spot(node, self.card_at(node_id, device))

    def card_at(self, node_id: str, device: str) -> int:
        """Its number; -1 for the CPU, and for a card that is not on the board."""
        return self._card_at.get((node_id, device), -1)

    def device(self, spot: Spot) -> str:
        return CPU if spot.card < 0 else self.cards[spot.card][1].id

    def find(self, need: Need) -> Spot | None:
        """The fitting place on a node with the fewest mates; of those the tightest card, or the quietest node.

        A need that asks for no memory of its card goes to the one with the fewest holders.
        """
        if need.where is not Where.CPU:
            card = self._find_card(need, only_cuda=need.where is Where.EITHER)
            if card >= 0 or need.where is Where.CARD:
                return Spot(self.node_of[card], card) if card >= 0 else None
        node = self._find_node(need)
        return None if node < 0 else Spot(node)

    def take(self, need: Need, spot: Spot, *, held: Size | None = None) -> Holding:
        """The place is taken from now on. `held`: the part that it has already, the rest being promised to it."""
        holding = Holding(
            id=need.id,
            group=need.group,
            node_id=self.rooms[spot.node].id,
            device=self.device(spot),
            size=self.size_at(need, spot) if held is None else held,
            priority=need.priority,
            is_fixed=True,
        )
        self._move_keys(holding, spot)
        return holding

    def size_at(self, need: Need, spot: Spot) -> Size:
        """What it takes there: a whole card is all of its memory, and the CPU has none."""
        size = need.size
        if spot.card < 0:
            return Size(cpu_milli=size.cpu_milli, memory_bytes=size.memory_bytes)
        if size.is_whole:
            whole = self.cards[spot.card][1].memory_bytes
            return Size(card_bytes=whole, cpu_milli=size.cpu_milli, memory_bytes=size.memory_bytes, is_whole=True)
        return size

    def _find_card(self, need: Need, *, only_cuda: bool) -> int:
        size, count = need.size, len(self.cards)
        if size.is_whole:
            shelf, start = self._empty_cards(), 0
        elif size.card_bytes:
            shelf = self._tight
            start = bisect_left(shelf, size.card_bytes * count)
        else:
            shelf, start = self._calm_cards(), 0
        mates = self._mates.get(need.group)
        asks = size.cpu_milli or size.memory_bytes
        best, fewest = -1, 1 << 30
        for at in range(start, len(shelf)):
            card = shelf[at] % count
            node = self.node_of[card]
            if asks and not self._has_room(size, node):
                continue
            if only_cuda and not self.rooms[node].can_cuda:
                continue
            here = mates.get(node, 0) if mates else 0
            if here < fewest:
                best, fewest = card, here
                if not here:
                    break
        return best

    def _find_node(self, need: Need) -> int:
        mates = self._mates.get(need.group)
        best, fewest = -1, 1 << 30
        for key in self._quiet_nodes():
            node = key % len(self.rooms)
            if not self._has_room(need.size, node):
                continue
            here = mates.get(node, 0) if mates else 0
            if here < fewest:
                best, fewest = node, here
                if not here:
                    break
        return best

    def _has_room(self, size: Size, node: int) -> bool:
        """What asks for nothing always fits."""
        return (not size.cpu_milli or size.cpu_milli <= self.cpu[node]) and (
            not size.memory_bytes or size.memory_bytes <= self.memory[node]
        )

    def _put(self, holding: Holding, spot: Spot) -> None:
        size, node = holding.size, spot.node
        self.cpu[node] -= size.cpu_milli
        self.memory[node] -= size.memory_bytes
        if spot.card >= 0:
            self.free[spot.card] -= size.card_bytes
            self.wholes[spot.card] += size.is_whole
            self.on_card[spot.card][holding.id] = holding
        self.on_node[node][holding.id] = holding
        group = self._mates.setdefault(holding.group, {})
        group[node] = group.get(node, 0) + 1

    def _move_keys(self, holding: Holding, spot: Spot) -> None:
        """`_put`, and the shelves that are in use stay sorted."""
        card, node = spot.card, spot.node
        if self._quiet is not None:
            self._replace(self._quiet, len(self.on_node[node]), len(self.on_node[node]) + 1, node, len(self.rooms))
        if card < 0:
            self._put(holding, spot)
            return
        free, holders, was_whole = self.free[card], len(self.on_card[card]), self.wholes[card]
        self._put(holding, spot)
        count = len(self.cards)
        if self._empty is not None and not holders:
            _drop(self._empty, self._key(self.cards[card][1].memory_bytes, card))
        if was_whole:
            return
        self._replace(self._tight, free, None if holding.size.is_whole else self.free[card], card, count)
        if self._calm is not None:
            self._replace(self._calm, holders, None if holding.size.is_whole else holders + 1, card, count)

    def _empty_cards(self) -> list[int]:
        if self._empty is None:
            keys = (self._key(self.cards[card][1].memory_bytes, card) for card in range(len(self.cards)))
            self._empty = sorted(key for card, key in enumerate(keys) if not self.on_card[card])
        return self._empty

    def _calm_cards(self) -> list[int]:
        if self._calm is None:
            cards = (card for card in range(len(self.cards)) if not self.wholes[card])
            self._calm = sorted(self._key(len(self.on_card[card]), card) for card in cards)
        return self._calm

    def _quiet_nodes(self) -> list[int]:
        if self._quiet is None:
            count = len(self.rooms)
            self._quiet = sorted(len(held) * count + node for node, held in enumerate(self.on_node))
        return self._quiet

    def _key(self, value: int, card: int) -> int:
        return value * len(self.cards) + card

    @staticmethod
    def _replace(shelf: list[int], before: int, after: int | None, number: int, count: int) -> None:
        """A shelf holds one integer each, value times count plus number: these are compared at the speed of C."""
        _drop(shelf, before * count + number)
        if after is not None:
            insort(shelf, after * count + number)


def _drop(shelf: list[int], key: int) -> None:
    at = bisect_left(shelf, key)
    if at < len(shelf) and shelf[at] == key:
        del shelf[at]


def _card_id(card: Card) -> str:
    return card.id
