"""What the autoscaler needs from outside."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inference.access.model import Scope
from inference.scaling.model import Unfinished
from inference.serving.model import Profile, Replica, Service
from inference.serving.quota import Allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What one look tells of a service. `newest_id`: of its last job, empty without one. `waits`, `runs`: any job."""

    newest_id: str
    waits: bool
    runs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job that was completed. `run_s`: of its engine call, which it shared with `batch_size - 1` others."""

    service_id: str
    at: float
    latency_s: float
    run_s: float
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What outlives a control process: the policy's memory as it wrote it, and what takes long to measure."""

    memory: str = ""
    start_s: float | None = None
    work_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A size that was decided for a service; both None: that of its config."""

    replicas: int | None
    instances: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One change of a target, and why. `signals`: the figures it was decided by, JSON."""

    id: str
    service_id: str
    at: float
    from_replicas: int
    from_instances: int
    to_replicas: int
    to_instances: int
    policy: str
    reason: str
    signals: str


class ScalingStore(Protocol):
    """Signals are read for many services at once, at a cost that does not grow with what waits."""

    def watched(self) -> Sequence[Service]:
        """Services meant to run that are scaled, may rest when idle, or rest."""
        ...

    def glances(self, service_ids: Collection[str]) -> Mapping[str, Glance]: ...

    def unfinished(self, service_ids: Collection[str], *, most: int) -> Mapping[str, Sequence[Unfinished]]:
        """Jobs that wait or run, by priority. At most so many are counted, and the priorities of those behind the
        head of a long queue are taken to be like those of the head."""
        ...

    def arrivals(self, service_ids: Collection[str], *, since: float, until: float) -> Mapping[str, int]:
        """Jobs by the time at which their ids were made."""
        ...

    def made_at(self, service_id: str, *, limit: int) -> Sequence[float]:
        """When the last jobs of a service were submitted, epoch seconds."""
        ...

    def ended(self, *, since: float, most: int) -> Sequence[Ended]:
        """Of all services, newest first."""
        ...

    def replicas(self, service_ids: Collection[str]) -> Sequence[Replica]: ...

    def kept(self, service_ids: Collection[str]) -> Mapping[str, Kept]: ...

    def keep(self, kept: Mapping[str, Kept]) -> None: ...

    def decide(self, service: Service, target: Target, *, policy: str, reason: str, signals: str) -> bool:
        """Writes the target and its record, unless the service's target or config changed meanwhile: then False."""
        ...

    def decisions(
        self, scope: Scope, *, service_id: str | None = None, limit: int = 100, before_id: str | None = None
    ) -> Sequence[DecisionRecord]:
        """Newest first."""
        ...

    def forget(self, *, keep_s: float) -> int:
        """Removes records that are older; how many."""
        ...

    def now_s(self) -> float:
        """Epoch seconds by the clock of what submits and ends jobs."""
        ...


class Turns(Protocol):
    """Whose the autoscaler is: one process keeps it, and with it what it has seen."""

    def hold(self, name: str, *, by: str, for_s: float) -> bool:
        """Whether the duty is `by`'s: it was already, or nobody has renewed it for so long. Renews it."""
        ...

    def take(self, name: str, *, every_s: float, by: str) -> bool:
        """True for exactly one caller per period."""
        ...


class Profiles(Protocol):
    def of_model(self, model_id: str) -> Sequence[Profile]: ...


def _nobody(_service_ids: Sequence[str]) -> Mapping[str, int]:
    return {}


def _no_rates() -> Mapping[str, float]:
    return {}


def _unlimited(_services: Sequence[Service]) -> Mapping[str, int]:
    return {}


def _free(_service: Service) -> Allowed | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPorts:
    """`predictions`: how many wait in the express lane, by service; `predicted`: how many are answered a second, of
    services that answer any. `affordable`: instances that budgets still pay for; who has no such limit is not named.
    `allowed`: replicas that the quotas of its tenant leave to a service; None: they do not say.
    """

    store: ScalingStore
    turns: Turns
    profiles: Profiles
    predictions: Callable[[Sequence[str]], Mapping[str, int]] = field(default=_nobody)
    predicted: Callable[[], Mapping[str, float]] = field(default=_no_rates)
    affordable: Callable[[Sequence[Service]], Mapping[str, int]] = field(default=_unlimited)
    allowed: Callable[[Service], Allowed | None] = field(default=_free)
