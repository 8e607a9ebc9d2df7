"""Who was claimed while something more urgent stood by. Pure."""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.history import Move

LEAVES, ENTERS, CLAIMED = 0, 1, 2


def overtaken(moves: Sequence[Move], *, slack_s: float | None) -> Iterator[tuple[str, str]]:
    """(claimed, the more urgent job of its service that was claimable all the while), one pair for each such claim.

    `slack_s` None: claims take turns, and the order of `seq` is the truth; a batch counts as one claim. Otherwise the
    other job must have been claimable that long before the claim and after it, since claims at the same time skip
    what the others are looking at.
    """
    by_service: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        by_service[move.service_id].append(move)
    for of_service in by_service.values():
        yield from _of_service(of_service, slack_s)


def _of_service(moves: Sequence[Move], slack_s: float | None) -> Iterator[tuple[str, str]]:
    slack = slack_s or 0.0
    events: list[tuple[float, int, float, str, int]] = []
    since: dict[str, tuple[float, float, int]] = {}
    stays = 0
    ends = _batch_ends(moves) if slack_s is None else {}
    for move in moves:
        at = float(move.seq) if slack_s is None else move.at
        if move.job_id in since:
            entered, key, stay = since.pop(move.job_id)
            if at - slack >= entered + slack:
                events.append((entered + slack, ENTERS, key, move.job_id, stay))
                events.append((at - slack, LEAVES, key, move.job_id, stay))
            if move.state == "running":
                events.append((ends.get(move.seq, at), CLAIMED, key, move.job_id, stay))
        if move.is_claimable:
            since[move.job_id] = (at, move.order_key, stays)
            stays += 1
    for job_id, (entered, key, stay) in since.items():
        events.append((entered + slack, ENTERS, key, job_id, stay))
    yield from _sweep(sorted(events))


def _batch_ends(moves: Sequence[Move]) -> dict[int, float]:
    """The number of the last claim of the batch that each claim belongs to."""
    ends: dict[int, float] = {}
    batch: list[int] = []
    of: Any = None
    for move in moves:
        who = (move.instance_id, move.instance_generation, move.at) if move.state == "running" else None
        if who != of or who is None:
            batch, of = [], who
        batch.append(move.seq)
        for seq in batch:
            ends[seq] = float(move.seq)
    return ends


def _sweep(events: Sequence[tuple[float, int, float, str, int]]) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[float, str, int]] = []
    gone: set[int] = set()
    for _, kind, key, job_id, stay in events:
        if kind == ENTERS:
            heapq.heappush(waiting, (key, job_id, stay))
        elif kind == LEAVES:
            gone.add(stay)
        else:
            while waiting and waiting[0][2] in gone:
                heapq.heappop(waiting)
            if waiting and waiting[0][:2] < (key, job_id):
                yield job_id, waiting[0][1]
