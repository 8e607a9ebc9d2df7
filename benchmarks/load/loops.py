"""The two ways to put load on a server: so many clients that wait for their answer, or arrivals that do not wait."""

import random
import re
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.load.wire import Answer, Wire

TASK_ID = re.compile(rb'"task_id": *"([^"]+)"')
_FINAL = re.compile(rb'"status": *"(?:completed|failed|dead|cancelled|expired)"')


class Wires:
    """Open connections and the one place that waits for them, to the microsecond."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._epoll = select.epoll()
        self._by_fd: dict[int, Wire] = {}

    def open(self) -> Wire:
        wire = Wire(self._host, self._port)
        self._watch(wire)
        return wire

    def _watch(self, wire: Wire) -> None:
        self._by_fd[wire.socket.fileno()] = wire
        self._epoll.register(wire.socket.fileno(), select.EPOLLIN)

    def mend(self, wire: Wire) -> None:
        """Connects again where the server closed or is about to."""
        del self._by_fd[wire.socket.fileno()]
        self._epoll.unregister(wire.socket.fileno())
        wire.reconnect()
        self._watch(wire)

    def ready(self, timeout_s: float | None = None) -> Iterator[Wire]:
        """Those with something to read. `epoll` rounds up to milliseconds, `select` on it does not."""
        if timeout_s is not None:
            select.select([self._epoll], [], [], max(0.0, timeout_s))
        for fd, _ in self._epoll.poll(0 if timeout_s is not None else 30):
            if fd in self._by_fd:
                yield self._by_fd[fd]

    def close(self) -> None:
        for wire in self._by_fd.values():
            wire.socket.close()
        self._epoll.close()


def closed(
    wires: Wires,
    *,
    connections: int,
    next_request: Callable[[], bytes | None],
    on_answer: Callable[[Answer, float], None],
) -> None:
    """Each connection sends its next request when the last one is answered, until `next_request` gives None.

    `on_answer` gets the answer and the seconds it took.
    """
    active = 0
    clock = time.perf_counter
    for _ in range(connections):
        request = next_request()
        if request is None:
            break
        wire = wires.open()
        wire.sent_at = clock()
        wire.send(request)
        active += 1
    while active:
        for wire in wires.ready():
            answer = wire.receive()
            if answer is None:
                continue
            on_answer(answer, clock() - wire.sent_at)
            if wire.is_closing:
                wires.mend(wire)
            request = next_request()
            if request is None:
                active -= 1
                continue
            wire.sent_at = clock()
            wire.send(request)


def paced(
    wires: Wires,
    *,
    connections: int,
    rate: float,
    seconds: float,
    requests: Sequence[bytes],
    on_answer: Callable[[Answer, float], None],
) -> int:
    """So many open connections take turns at a fixed rate in all, whatever the server does.

    `on_answer` gets the seconds since the request was due. Returns how many were left out, because their connection
    still waited for its answer before: those count as failures.
    """
    line = [wires.open() for _ in range(connections)]
    clock = time.perf_counter
    start, position, total, skipped, waiting = clock() + 0.05, 0, int(rate * seconds), 0, 0
    end = start + seconds + 30
    while (position < total or waiting) and clock() < end:
        while position < total and start + position / rate <= clock():
            wire = line[position % connections]
            if wire.job is None:
                wire.job, wire.sent_at = True, start + position / rate
                wire.send(requests[position % len(requests)])
                waiting += 1
            else:
                skipped += 1
            position += 1
        pause = start + position / rate - clock() if position < total else 0.1
        for wire in wires.ready(pause):
            answer = wire.receive()
            if answer is None:
                continue
            on_answer(answer, clock() - wire.sent_at)
            wire.job = None
            waiting -= 1
            if wire.is_closing:
                wires.mend(wire)
    return skipped + waiting


@dataclass(slots=True)
class Trip:
    """One job of the open loop: due at `due_at`, sent a little later, accepted, done."""

    due_at: float
    sent_at: float = 0.0
    accepted_at: float = 0.0
    done_at: float = 0.0
    task_id: str = ""
    body: bytes = b""
    status: int = 0


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Times of a Poisson process, in seconds from its start; the same seed gives the same times."""
    dice = random.Random(seed)
    times, now = [], dice.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += dice.expovariate(rate)
    return times


def poisson(
    wires: Wires,
    *,
    due: Sequence[float],
    submits: Sequence[bytes],
    wait: Callable[[str], bytes],
    grace_s: float = 60.0,
) -> list[Trip]:
    """Submits at the given times whatever the server does, and waits for each answer on the same connection.

    Counted from the moment a job was due, so that a slow server cannot slow the clock down.
    """
    free = [wires.open() for _ in range(32)]
    clock = time.perf_counter
    start = clock() + 0.05
    trips = [Trip(due_at=start + offset) for offset in due]
    position, unfinished, end = 0, len(trips), start + due[-1] + grace_s
    while unfinished and clock() < end:
        while position < len(trips) and trips[position].due_at <= clock():
            wire = free.pop() if free else wires.open()
            trip = trips[position]
            wire.job, trip.sent_at = trip, clock()
            wire.send(submits[position % len(submits)])
            position += 1
        pause = trips[position].due_at - clock() if position < len(trips) else 1.0
        for wire in wires.ready(pause):
            answer = wire.receive()
            if answer is None:
                continue
            is_over = _advance(wire, answer, clock(), wires, wait)
            if is_over:
                unfinished -= 1
                free.append(wire)
    return trips


def _advance(wire: Wire, answer: Answer, now: float, wires: Wires, wait: Callable[[str], bytes]) -> bool:
    """Takes one trip one step on; True when it is over."""
    trip = wire.job
    if not isinstance(trip, Trip):
        return False
    if wire.is_closing:
        wires.mend(wire)
    trip.status = answer.status
    if answer.status == 200 and not trip.task_id:
        trip.accepted_at = trip.done_at = now  # a prediction: its answer is all
        trip.body = answer.body
        wire.job = None
        return True
    if not trip.task_id:
        found = TASK_ID.search(answer.body)
        if answer.status != 202 or found is None:
            trip.body = answer.body
            wire.job = None
            return True
        trip.task_id, trip.accepted_at = found[1].decode(), now
    elif _FINAL.search(answer.body) or answer.status != 200:
        trip.done_at, trip.body = now, answer.body
        wire.job = None
        return True
    wire.send(wait(trip.task_id))
    return False
