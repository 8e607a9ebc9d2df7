"""Who must give up room for one of a strictly higher priority.

Of all places that eviction would make fit, the one with the fewest victims; then those of the lowest priority, then the
cheapest to bring back. Victims are found by reprieve: all lower ones of a place are put out, and whoever can stay does,
so that none of those who remain could be spared.

Source of the reprieve: Kubernetes' scheduler, `selectVictimsOnNode`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import add, ge, itemgetter

from inference.resources.fit import NOTHING, Board, Holding, Need, Size, Spot, Where

LOOK = 8
"""So many places with several victims are compared; finding the best of all is not worth the time."""
MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class Eviction:
    """`victims` leave `spot`, and then the need fits."""

    spot: Spot
    victims: tuple[Holding, ...]

    @property
    def cost(self) -> tuple[int, int, float, int, int]:
        """Sort key: fewest, then lowest, then cheapest to reload; then by place, to be the same every time."""
        priorities = [victim.priority for victim in self.victims]
        reload_s = sum(victim.reload_s for victim in self.victims)
        return len(self.victims), max(priorities, default=0), reload_s, self.spot.card, self.spot.node


class Evictable:
    """The holders on a board who may be evicted, by priority. Kept up to date by `drop`."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._gone: set[str] = set()
        self._ranks: dict[int, _Rank] = {}
        self._sums: dict[int, list[int]] = {}
        for node, held in enumerate(board.on_node):
            for holding in held.values():
                if not holding.is_fixed:
                    self._rank(holding.priority).entries.append((holding.reload_s, holding.id, node, holding))
        for rank in self._ranks.values():
            rank.settle(board)

    def _rank(self, priority: int) -> "_Rank":
        return self._ranks.setdefault(priority, _Rank(len(self._board.cards)))

    def drop(self, victims: Iterable[Holding]) -> None:
        """These are on their way out: nobody evicts them twice."""
        for victim in victims:
            self._gone.add(victim.id)
            card = self._ranks[victim.priority].forget(victim)
            for priority, sums in self._sums.items():
                if card >= 0 and priority > victim.priority:
                    sums[card] -= victim.size.card_bytes

    def choose(self, need: Need) -> Eviction | None:
        """The eviction that costs least; None when none makes room. It changes nothing."""
        lower = [self._ranks[priority] for priority in sorted(self._ranks) if priority < need.priority]
        if not lower:
            return None
        return self._one(need, lower) or self._several(need)

    def _one(self, need: Need, lower: "Sequence[_Rank]") -> Eviction | None:
        """The cheapest victim of the lowest priority who alone is enough."""
        board, size = self._board, need.size
        if need.where is not Where.CARD:
            for rank in lower:
                for _, victim_id, node, victim in rank.entries:
                    if victim_id not in self._gone and self._fits_without(size, node, victim.size):
                        return Eviction(Spot(node), (victim,))
            return None
        wanted = (
            size.card_bytes if not size.is_whole else min((card.memory_bytes for _, card in board.cards), default=0)
        )
        for rank in lower:
            # The whole rank is looked through at the speed of C: it may hold thousands.
            rooms = list(map(add, map(board.free.__getitem__, rank.cards), rank.sizes))
            if max(rooms, default=-MOST) < wanted:
                continue
            for at, room in enumerate(rooms):
                if room >= wanted and self._is_enough(rank, at, size):
                    victim = rank.on_cards[at]
                    return Eviction(Spot(board.node_of[rank.cards[at]], rank.cards[at]), (victim,))
        return None

    def _is_enough(self, rank: "_Rank", at: int, size: Size) -> bool:
        board, card, victim = self._board, rank.cards[at], rank.on_cards[at]
        if board.wholes[card] > victim.size.is_whole or (size.is_whole and len(board.on_card[card]) > 1):
            return False
        return self._fits_without(size, board.node_of[card], victim.size)

    def _fits_without(self, size: Size, node: int, given: Size) -> bool:
        board = self._board
        return (not size.cpu_milli or size.cpu_milli <= board.cpu[node] + given.cpu_milli) and (
            not size.memory_bytes or size.memory_bytes <= board.memory[node] + given.memory_bytes
        )

    def _several(self, need: Need) -> Eviction | None:
        found: list[Eviction] = []
        for spot in self._hopeful(need):
            if victims := self._victims(need, spot):
                found.append(Eviction(spot, victims))
                if len(found) == LOOK:
                    break
        return min(found, key=lambda eviction: eviction.cost, default=None)

    def _hopeful(self, need: Need) -> Iterable[Spot]:
        """Places that may fit when all lower ones are gone, those that lack least first."""
        board = self._board
        if need.where is not Where.CARD:
            nodes = sorted(range(len(board.rooms)), key=lambda node: (-board.cpu[node], -board.memory[node], node))
            return [Spot(node) for node in nodes]
        rooms = map(add, board.free, self._below(need.priority))
        wanted = [need.size.card_bytes] * len(board.cards)
        if need.size.is_whole:
            wanted = [card.memory_bytes for _, card in board.cards]
        fitting = [card for card, is_enough in enumerate(map(ge, rooms, wanted)) if is_enough]
        fitting.sort(key=board.free.__getitem__, reverse=True)
        return (Spot(board.node_of[card], card) for card in fitting)

    def _below(self, priority: int) -> list[int]:
        """By card, what its evictable holders of lower priorities have."""
        if priority not in self._sums:
            sums = [0] * len(self._board.cards)
            for other, rank in self._ranks.items():
                if other < priority:
                    sums = list(map(add, sums, rank.per_card))
            self._sums[priority] = sums
        return self._sums[priority]

    def _victims(self, need: Need, spot: Spot) -> tuple[Holding, ...]:
        """The fewest that reprieve leaves, of two orders in which holders are reprieved; none if it does not help."""
        board = self._board
        here = board.on_card[spot.card] if spot.card >= 0 else {}
        # Where the node itself has room, nobody on its other cards need go.
        around = (
            here if spot.card >= 0 and self._fits_without(need.size, spot.node, NOTHING) else board.on_node[spot.node]
        )
        lower = [
            holding
            for holding in around.values()
            if holding.priority < need.priority and not holding.is_fixed and holding.id not in self._gone
        ]
        slack = _slack(board, need, spot, lower, here)
        if slack is None:
            return ()
        by_rank = sorted(lower, key=lambda one: (-one.priority, -one.reload_s, one.id))
        by_size = sorted(by_rank, key=lambda one: one.size.card_bytes if one.id in here else one.size.cpu_milli)
        ways = [_reprieve(order, slack, need.size, here) for order in (by_rank, by_size)]
        return min(ways, key=lambda victims: Eviction(spot, victims).cost)


def is_soon_free(board: Board, need: Need, leaving: Sequence[Holding]) -> bool:
    """Whether the need fits somewhere once those who leave anyway are gone: for that, nobody need be put out."""
    spots = [board.spot(one.node_id, one.device) for one in leaving]
    for spot in spots:
        if spot is None or (need.where is Where.CARD and spot.card < 0):
            continue
        at = spot if need.where is Where.CARD else Spot(spot.node)
        here = board.on_card[at.card] if at.card >= 0 else {}
        going = [one for one in leaving if one.id in board.on_node[at.node]]
        if _slack(board, need, at, going, here) is not None:
            return True
    return False


class _Rank:
    """The evictable holders of one priority, cheapest first; those on cards once more, as columns of numbers."""

    def __init__(self, cards: int) -> None:
        self.entries: list[tuple[float, str, int, Holding]] = []
        self.on_cards: list[Holding] = []
        self.cards: list[int] = []
        self.sizes: list[int] = []
        self.per_card = [0] * cards
        self._at: dict[str, int] = {}

    def settle(self, board: Board) -> None:
        self.entries.sort(key=itemgetter(0, 1))
        for _, _, _, holding in self.entries:
            card = board.card_at(holding.node_id, holding.device)
            if card >= 0:
                self._at[holding.id] = len(self.cards)
                self.on_cards.append(holding)
                self.cards.append(card)
                self.sizes.append(holding.size.card_bytes)
                self.per_card[card] += holding.size.card_bytes

    def forget(self, victim: Holding) -> int:
        """The number of its card; -1 if it had none."""
        at = self._at.get(victim.id)
        if at is None:
            return -1
        card = self.cards[at]
        self.per_card[card] -= self.sizes[at]
        self.sizes[at] = -MOST
        return card


_Slack = tuple[int, int, int]


def _slack(board: Board, need: Need, spot: Spot, lower: Sequence[Holding], here: "dict[str, Holding]") -> _Slack | None:
    """What would be left (card, CPU, memory) with the need in and all of `lower` out; None if it does not fit then."""
    size = board.size_at(need, spot)
    card = 0
    if spot.card >= 0:
        staying = len(here) - sum(one.id in here for one in lower)
        wholes = board.wholes[spot.card] - sum(one.size.is_whole for one in lower if one.id in here)
        if wholes or (size.is_whole and staying):
            return None
        card = board.free[spot.card] + sum(one.size.card_bytes for one in lower if one.id in here) - size.card_bytes
    cpu = board.cpu[spot.node] + sum(one.size.cpu_milli for one in lower) - size.cpu_milli
    memory = board.memory[spot.node] + sum(one.size.memory_bytes for one in lower) - size.memory_bytes
    is_short = card < 0 or (size.cpu_milli and cpu < 0) or (size.memory_bytes and memory < 0)
    return None if is_short else (card, cpu, memory)


def _reprieve(order: Sequence[Holding], slack: _Slack, size: Size, here: "dict[str, Holding]") -> tuple[Holding, ...]:
    """Who cannot stay when the others of `order` are let stay one by one."""
    card, cpu, memory = slack
    victims = []
    for one in order:
        mine, is_here = one.size, one.id in here
        must_go = (
            (is_here and (size.is_whole or mine.is_whole or mine.card_bytes > card))
            or (size.cpu_milli and mine.cpu_milli > cpu)
            or (size.memory_bytes and mine.memory_bytes > memory)
        )
        if must_go:
            victims.append(one)
        else:
            card -= mine.card_bytes if is_here else 0
            cpu -= mine.cpu_milli
            memory -= mine.memory_bytes
    return tuple(victims)
