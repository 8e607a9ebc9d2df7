"""What an autoscaling policy sees, what it may do, what it remembers and what it answers. Nothing here does I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Jobs of one priority class that are not finished, running ones included, and the age of the oldest."""

    priority: int
    jobs: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """One service at one moment. None is "not known yet", which a policy must be able to live with.

    `arrivals_5s`, `_15s`, `_60s`: jobs submitted in that time before `now_s` (epoch seconds).
    `work_s`: seconds of one instance that a job takes at the current batch fill; so an instance does `1 / work_s` a
    second. A mean of the last thousand jobs or so: a mean of few makes the number of instances restless.
    `service_s`: how long a job is inside an engine; longer than `work_s` where batches are used.
    `cv2_*`: squared coefficients of variation, of the time between submissions and of the work.
    `start_s`: from the wish for an instance until it is ready. `p95_s`: submission to completion, lately.
    `ready` instances take jobs; `starting` ones have been asked for. Shares are 0 to 1.
    """

    now_s: float
    unfinished: tuple[Unfinished, ...] = ()
    arrivals_5s: int = 0
    arrivals_15s: int = 0
    arrivals_60s: int = 0
    work_s: float | None = None
    service_s: float | None = None
    cv2_arrivals: float | None = None
    cv2_work: float | None = None
    start_s: float | None = None
    cpu_share: float | None = None
    memory_share: float | None = None
    batch_fill: float | None = None
    p95_s: float | None = None
    ready: int = 0
    starting: int = 0

    @property
    def jobs(self) -> int:
        """Unfinished jobs of all priorities."""
        return sum(part.jobs for part in self.unfinished)

    @property
    def oldest_s(self) -> float:
        """Age of the oldest unfinished job; 0 without one."""
        return max((part.oldest_s for part in self.unfinished if part.jobs), default=0.0)

    @property
    def instances(self) -> int:
        """What is there and what is on its way."""
        return self.ready + self.starting


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """From each time that `cron` names (five fields, UTC) on, `min_instances` for `duration_s`."""

    cron: str
    min_instances: int
    duration_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a policy may answer, in instances of the whole service, and what it works towards.

    `min_instances` 0: may rest. `room`: as many as memory and devices leave room for, those that are there included;
    `affordable`: as many as the budget pays for; None: no such limit. Where limits contradict each other, the lowest
    upper one wins. `hold_down_s` None: as the policy says.
    """

    min_instances: int = 0
    max_instances: int = 1
    objective_s: float = 10.0
    hold_down_s: float | None = None
    room: int | None = None
    affordable: int | None = None
    cpu_out: float = 0.70
    schedules: tuple[Schedule, ...] = ()

    @property
    def ceiling(self) -> int:
        """The lowest of the upper limits."""
        return max(0, min(n for n in (self.max_instances, self.room, self.affordable) if n is not None))

    def clamp(self, wanted: int) -> int:
        """The nearest number that is allowed."""
        return min(max(wanted, self.min_instances), self.ceiling)

    def words(self, wanted: int) -> str:
        """The end of a reason: which limit kept `wanted` from being granted; empty when it was."""
        allowed = self.clamp(wanted)
        if wanted < allowed:
            return f"; the limits ask for {allowed}"
        if wanted == allowed:
            return ""
        if allowed == self.room:
            return f"; {wanted} were wanted, there is room for {allowed}"
        if allowed == self.affordable:
            return f"; {wanted} were wanted, the budget pays for {allowed}"
        return f"; {wanted} were wanted, the limits allow {allowed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a policy keeps from one decision to the next. It is data: the same in gives the same out, anywhere.

    `needs`: (at_s, instances) of past needs that still hold the number up, the number falling with time.
    `peaks`: (window_s, jobs, at_s): the most jobs that ever came within such a time, lately.
    `trend`: (level, slope, at_s) of the forecast. `marks`: for a policy of your own.
    """

    needs: tuple[tuple[float, int], ...] = ()
    peaks: tuple[tuple[float, float, float], ...] = ()
    trend: tuple[float, float, float] | None = None
    marks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many instances the service should have, and why, in words for the record and in figures for a chart."""

    wanted: int
    reason: str
    details: Mapping[str, float] = field(default_factory=dict)


class Policy(Protocol):
    """Figures in, decision out. Pure: no clock, no randomness, no I/O; `memory` is replaced, never changed.

    Promises: `wanted` is within `limits`, and asking again with the same three arguments answers the same.
    """

    def decide(self, signals: Signals, limits: Limits, memory: Memory) -> tuple[Decision, Memory]: ...


def encode(memory: Memory) -> bytes:
    """As JSON, for a row."""
    return msgspec.json.encode(memory)


def decode(row: bytes | str | None) -> Memory:
    """What `encode` wrote; an empty memory for None, and for one that a later release wrote in another form."""
    if row is None:
        return Memory()
    try:
        return msgspec.json.decode(row, type=Memory)
    except msgspec.ValidationError:
        return Memory()
