"""What the checker reads: rows as the database has them, lines as clients and engines wrote them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FINAL = frozenset({"completed", "failed", "dead", "cancelled", "expired"})


@dataclass(slots=True, kw_only=True)
class Job:
    """A row of `jobs`, with `value`: what identifies the job in its input; None when that cannot be read."""

    id: str
    tenant_id: str
    service_id: str
    state: str
    generation: int
    attempt: int
    max_attempts: int
    value: Any = None
    callback_url: str | None = None
    callback_events: int = 1


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A row of `attempts`. `batch_size`: how many jobs the batch had that it ended with."""

    job_id: str
    generation: int
    attempt: int
    instance_id: str | None
    outcome: str
    batch_size: int | None = None


@dataclass(slots=True, kw_only=True)
class Event:
    """A row of `outbox`."""

    id: str
    job_id: str
    generation: int
    event: str
    job_state: str
    state: str


@dataclass(slots=True, kw_only=True)
class Move:
    """A change of a job's row, in the order of `seq`. `before`: None for the row's first.

    `is_claimable`: pending and not delayed. `order_key` and the instance are those after the change.
    """

    seq: int
    at: float
    job_id: str
    service_id: str
    before: str | None
    state: str
    generation: int
    attempt: int
    is_claimable: bool
    is_cancel_asked: bool
    order_key: float
    instance_id: str | None
    instance_generation: int | None


@dataclass(slots=True, kw_only=True)
class Life:
    """A process that was an instance for one of its generations."""

    instance_id: str
    generation: int
    pid: int


@dataclass(slots=True, kw_only=True)
class Effect:
    """A job's part in an engine run, as the engine saw it."""

    value: Any
    pid: int


@dataclass(kw_only=True)
class History:
    """All that is known of one scenario. None: that source was not there, and what needs it is not checked.

    `results`: job id -> JSON value. `usage`: (tenant, service) -> jobs counted. `client`: the lines of the client log.
    `slack_s`: None when claims come one after the other (SQLite); else for how long a job must have been claimable
    before and after a claim to count as overtaken by it.
    """

    jobs: Sequence[Job] = ()
    attempts: Sequence[Attempt] = ()
    results: Mapping[str, Any] = field(default_factory=dict)
    outbox: Sequence[Event] | None = None
    usage: Mapping[tuple[str, str], int] | None = None
    moves: Sequence[Move] | None = None
    lives: Sequence[Life] | None = None
    effects: Sequence[Effect] | None = None
    client: Sequence[Mapping[str, Any]] = ()
    slack_s: float | None = None

    def __post_init__(self) -> None:
        self.by_id = {job.id: job for job in self.jobs}
        self.attempts_of: dict[tuple[str, int], list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            self.attempts_of[attempt.job_id, attempt.generation].append(attempt)
        self.ids_of: dict[Any, list[str]] = defaultdict(list)
        for job in self.jobs:
            self.ids_of[job.value].append(job.id)
        self.ends = self._ends()

    def _ends(self) -> dict[tuple[str, int], str]:
        """The final state of each generation that has one."""
        found = {(job.id, job.generation): job.state for job in self.jobs if job.state in FINAL}
        for move in self.moves or ():
            if move.state in FINAL:
                found.setdefault((move.job_id, move.generation), move.state)
        return found

    def lines(self, *ops: str) -> list[Mapping[str, Any]]:
        return [line for line in self.client if line["op"] in ops]
