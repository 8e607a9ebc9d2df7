"""A discrete-event simulation of one service: jobs of a trace, instances that start slowly, and who scales them."""

import heapq
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from benchmarks.scaling.trace import Trace


class Scaler(Protocol):
    """Is asked every `every_s` seconds how many instances there should be; `first` are ready when the trace begins."""

    every_s: float
    first: int

    def wanted(self, fleet: "Fleet") -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`attained`: share of jobs completed within each objective. `worker_hours`: instances times hours, those that are
    starting or finishing their last job included. `killed`: jobs that a scale-in interrupted."""

    attained: dict[float, float]
    worker_hours: float
    most: int
    killed: int
    scale_ins: int
    decide_us: float


class Fleet:
    """The instances and their jobs. One job an instance at a time, first come, first served, from one queue.

    Scaling in takes instances that are still starting, then idle ones, then lets busy ones finish their job first.
    """

    def __init__(self, trace: Trace, *, start_s: float, first: int) -> None:
        self.trace, self.start_s = trace, start_s
        self.now_s = 0.0
        self.arrived = self.taken = 0
        self.idle, self.surplus = first, 0
        self.starting: deque[float] = deque()
        self.busy: list[tuple[float, int]] = []
        self.ended: list[int] = []
        self.taken_s = [math.nan] * len(trace.at_s)
        self.ended_s = [math.nan] * len(trace.at_s)
        self.ongoing_s = self.worker_s = 0.0
        self.most, self.scale_ins = first, 0

    @property
    def ready(self) -> int:
        """Instances that take jobs, or will when they have finished theirs."""
        return self.idle + len(self.busy) - self.surplus

    @property
    def wanted(self) -> int:
        """What the last scaling asked for."""
        return self.ready + len(self.starting)

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self.arrived - self.taken

    @property
    def ongoing(self) -> int:
        """Jobs in the queue and in instances."""
        return self.arrived - len(self.ended)

    def came(self, window_s: float) -> int:
        """Jobs that arrived within the last `window_s`."""
        return self.arrived - self.trace.before(self.now_s - window_s)

    def scale(self, wanted: int) -> None:
        """Asks for `wanted` instances."""
        more = wanted - self.wanted
        if more > 0:
            stay = min(more, self.surplus)  # those that were to go after their job stay
            self.surplus -= stay
            self.starting.extend([self.now_s + self.start_s] * (more - stay))
        elif more < 0:
            self.scale_ins += 1
            for _ in range(-more):
                if self.starting:
                    self.starting.pop()
                elif self.idle:
                    self.idle -= 1
                else:
                    self.surplus += 1
        self.most = max(self.most, self.wanted)

    def advance(self, until_s: float) -> None:
        """Lets everything happen up to and with `until_s`."""
        at_s, last = self.trace.at_s, len(self.trace.at_s)
        while True:
            arrival = at_s[self.arrived] if self.arrived < last else math.inf
            end = self.busy[0][0] if self.busy else math.inf
            start = self.starting[0] if self.starting else math.inf
            moment = min(arrival, end, start)
            if moment > until_s:
                break
            self._pass(moment)
            if moment == end:
                self._end()
            elif moment == start:
                self.starting.popleft()
                self.idle += 1
            else:
                self.arrived += 1
            while self.idle and self.taken < self.arrived:
                self._take()
        self._pass(until_s)

    def killed(self) -> int:
        """Jobs that were taken and did not end exactly when their work was done; asked when all is over."""
        ends = zip(self.taken_s, self.ended_s, self.trace.work_s, strict=True)
        return sum(1 for taken, ended, work in ends if not math.isnan(taken) and ended != taken + work)

    def _pass(self, moment: float) -> None:
        gone = moment - self.now_s
        self.ongoing_s += gone * (self.arrived - len(self.ended))
        self.worker_s += gone * (self.idle + len(self.busy) + len(self.starting))
        self.now_s = moment

    def _end(self) -> None:
        moment, job = heapq.heappop(self.busy)
        self.ended_s[job] = moment
        self.ended.append(job)
        if self.surplus:
            self.surplus -= 1
        else:
            self.idle += 1

    def _take(self) -> None:
        job = self.taken
        self.taken_s[job] = self.now_s
        self.taken += 1
        self.idle -= 1
        heapq.heappush(self.busy, (self.now_s + self.trace.work_s[job], job))


def run(trace: Trace, scaler: Scaler, *, start_s: float, objectives: tuple[float, ...]) -> Outcome:
    """Plays the trace until its last job is done. Raises RuntimeError when an hour later jobs still wait."""
    fleet = Fleet(trace, start_s=start_s, first=scaler.first)
    jobs, end_s, tick, spent = len(trace.at_s), trace.at_s[-1], 0, 0
    while len(fleet.ended) < jobs:
        fleet.advance(tick * scaler.every_s)
        began = time.thread_time_ns()
        wanted = scaler.wanted(fleet)
        spent += time.thread_time_ns() - began
        fleet.scale(wanted)
        tick += 1
        if fleet.now_s > end_s + 3600:
            raise RuntimeError(f"{jobs - len(fleet.ended)} jobs of {trace.name} are never done")
    took = [end - at for at, end in zip(trace.at_s, fleet.ended_s, strict=True)]
    return Outcome(
        attained={limit: sum(each <= limit for each in took) / jobs for limit in objectives},
        worker_hours=fleet.worker_s / 3600,
        most=fleet.most,
        killed=fleet.killed(),
        scale_ins=fleet.scale_ins,
        decide_us=spent / tick / 1000,
    )
