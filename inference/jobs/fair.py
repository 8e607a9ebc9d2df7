"""Fair sharing of a service by the keys that load it: start-time fair queueing.

Each job of a key takes its place one cost after the key's job before it, the cost being its estimated engine time
divided by the key's weight. So a key that sends a thousand jobs at once stands in the queue as if it had sent them at
the rate of its share, and another key's job comes between them. A service belongs to one tenant: its sharers are keys.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from inference.access.model import Principal
from inference.access.sharing import Sharing
from inference.clock import monotonic_s
from inference.errors import StoreUnavailable
from inference.jobs.block import Weighed
from inference.jobs.directory import slots
from inference.serving.model import Profile, Service
from inference.serving.ports import ProfileStore

AHEAD_S = 3600.0
"""How far behind the present a key can push its own jobs."""
MOST = 10_000
UNKNOWN_ROW_S = 0.001
LEAST_S = 1e-6
"""Keeps places apart: a double holds epoch seconds to a quarter of a microsecond."""
PROFILE_S = 10.0
AGAIN_S = 1.0


def places(costs: Sequence[float], *, now: float, last: float, free_at: float) -> tuple[list[float], float]:
    """The instant by which each job takes its place, in order, and when the chain is free after them.

    `last`: the place before these; `free_at`: when the chain was free after it. Never earlier than `now` or `last`,
    never later than an hour from now unless `last` is. Source: start-time fair queueing (Goyal, Vin, Cheng 1996), with
    the clock for the virtual time: estimated and real engine time agree as far as the estimates do.
    """
    found = []
    for cost in costs:
        last = max(last, min(max(now, free_at), now + AHEAD_S))
        found.append(last)
        free_at = last + max(cost, LEAST_S)
    return found, free_at


def row_s(profiles: Sequence[Profile], max_batch: int | None) -> float:
    """Engine seconds per row, in batches as large as the service makes them; 1 ms while nothing was measured."""
    latest = max(profiles, key=lambda profile: profile.measured_at, default=None)
    if latest is None or not latest.curve:
        return UNKNOWN_ROW_S
    most = min(max_batch or latest.max_batch, latest.max_batch)
    rows, median_ms, _ = max((point for point in latest.curve if point[0] <= most), default=latest.curve[0])
    return median_ms / rows / 1000


class _Chain:
    __slots__ = ("free_at", "last", "told_us", "used_at")

    def __init__(self) -> None:
        self.free_at = 0.0
        self.last = 0.0
        self.told_us = 0
        self.used_at = 0.0


class FairOrder:
    """`Fair` for any number of threads. One chain per service, key and priority, so that what is urgent for a key
    stands before its own backlog.

    Each process sees a part of a key's jobs; every `share_every_s` it hears by how much the others moved the key's
    chains on, and moves its own. Until then two processes may give out the same places: the shares of two keys are as
    they should be over more than that time, if each sends more than that.
    """

    prefix = "f:"

    def __init__(self, profiles: ProfileStore, sharing: Sharing) -> None:
        self._profiles = profiles
        self._sharing = sharing
        self._lock = threading.Lock()
        self._chains: OrderedDict[tuple[str, str, int], _Chain] = OrderedDict()
        self._known: dict[str, tuple[float, float]] = {}
        self._offset_s = 0.0
        sharing.join(self)

    def places(self, by: Principal, service: Service, specs: Sequence[Weighed], *, now: float) -> Sequence[float]:
        """See `Fair`."""
        if by.key_id is None:
            return [now] * len(specs)
        ticks = monotonic_s()
        cost_s = self._row_s(service, ticks) / max(by.limits.weight, LEAST_S)
        if len(specs) == 1:
            name, cost = (service.id, by.key_id, specs[0].priority), max(specs[0].rows * cost_s, LEAST_S)
            with self._lock:
                self._offset_s = now - ticks
                chain = self._chain(name)
                place = chain.last = max(chain.last, min(max(now, chain.free_at), now + AHEAD_S))
                chain.free_at = place + cost
                chain.used_at = ticks
                chain.told_us += max(1, round(cost * 1e6))
            self._sharing.wake()
            return (place,)
        by_priority: dict[int, list[int]] = {}
        for index, spec in enumerate(specs):
            by_priority.setdefault(spec.priority, []).append(index)
        found = [now] * len(specs)
        with self._lock:
            self._offset_s = now - ticks
            for priority, indices in by_priority.items():
                chain = self._chain((service.id, by.key_id, priority))
                costs = [specs[index].rows * cost_s for index in indices]
                given, chain.free_at = places(costs, now=now, last=chain.last, free_at=chain.free_at)
                chain.last, chain.used_at = given[-1], ticks
                chain.told_us += max(1, round(sum(costs) * 1e6))
                for index, place in zip(indices, given, strict=True):
                    found[index] = place
        self._sharing.wake()
        return found

    def _chain(self, name: tuple[str, str, int]) -> _Chain:
        chain = self._chains.get(name)
        if chain is None:
            chain = self._chains[name] = _Chain()
            if len(self._chains) > MOST:
                self._chains.popitem(last=False)
        else:
            self._chains.move_to_end(name)
        return chain

    def _row_s(self, service: Service, now: float) -> float:
        """Of one of its instances among all."""
        known = self._known.get(service.id)
        if known is not None and now < known[1]:
            return known[0]
        try:
            seconds = row_s(self._profiles.of_model(service.model_id), service.config.max_batch)
            found = seconds / slots(service), now + PROFILE_S
        except StoreUnavailable:
            found = known[0] if known is not None else UNKNOWN_ROW_S / slots(service), now + AGAIN_S
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[service.id] = found
        return found[0]

    def taken(self, *, used_since_s: float) -> Mapping[str, int]:
        """See `Counting`: microseconds by which chains were moved on. A chain that has run off is forgotten."""
        found: dict[str, int] = {}
        now = monotonic_s()
        with self._lock:
            for name, chain in list(self._chains.items()):
                if chain.told_us or chain.used_at >= used_since_s or chain.free_at > now + self._offset_s:
                    found[":".join(map(str, name))], chain.told_us = chain.told_us, 0
                else:
                    del self._chains[name]
        return found

    def others(self, name: str, count: int, *, since_s: float) -> None:
        """See `Counting`."""
        with self._lock:
            service_id, key_id, priority = name.split(":")
            chain = self._chains.get((service_id, key_id, int(priority)))
            if chain is not None:
                most = monotonic_s() + self._offset_s + AHEAD_S
                chain.free_at = min(max(chain.free_at, since_s + self._offset_s) + count / 1e6, most)
