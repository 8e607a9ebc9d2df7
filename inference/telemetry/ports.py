"""What telemetry needs from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.settings import TelemetrySettings
from inference.telemetry.sample import Look, Published, Work
from inference.telemetry.series import Span

SLOTS_PER_S = 2
"""Work is counted by half seconds, so that what is told is never a second old."""


class Flow(Protocol):
    """What the tables say of the work of all services."""

    def now_s(self) -> float:
        """The clock by which jobs end."""
        ...

    def ended(self, first: int, until: int) -> Mapping[int, Mapping[str, Work]]:
        """Tasks that ended, by slot and service; slot n is the half second that begins n/2 s after 1970."""
        ...

    def count(self, first: int, until: int) -> int:
        """How many tasks ended in these slots. Much cheaper than `ended`."""
        ...

    def queues(self) -> Mapping[str, tuple[int, int]]:
        """Waiting and running tasks of each service that has any. Dear when very many wait."""
        ...

    def looks(self) -> Mapping[str, Look]:
        """Of each service that has replicas, all but its queue."""
        ...

    def max_batches(self) -> Mapping[str, int]:
        """The largest batch of each service whose model was measured."""
        ...


class SeriesStore(Protocol):
    """Rows of spans."""

    def put(self, spans: Sequence[Span]) -> None:
        """Writes them all in one transaction; what was there of the same span is replaced."""
        ...

    def of_service(self, service_id: str, *, step_s: int, since: int, until: int) -> Sequence[Span]:
        """By time."""
        ...

    def of_all(self, *, step_s: int, since: int, until: int) -> Sequence[Span]:
        """Of every service, in any order."""
        ...

    def newest(self, step_s: int) -> int | None:
        """Where the last span of this width begins; None when there is none."""
        ...

    def first(self, step_s: int, *, since: int) -> int | None:
        """Where the first span of this width at or after `since` begins."""
        ...

    def delete(self, *, step_s: int, before: int) -> int:
        """How many went; a bounded number at a call."""
        ...


class Turns(Protocol):
    """Who does a periodic duty."""

    def hold(self, name: str, *, by: str, for_s: float) -> bool:
        """Whether the duty is the caller's: it was already, or nobody has renewed it for so long."""
        ...


class Figures(Protocol):
    """The newest samples, for everybody who shows them."""

    def publish(self, published: Published) -> None:
        """Raises HotUnavailable."""
        ...

    def newest(self) -> Published | None:
        """What was published last, a few seconds ago at most. Raises HotUnavailable."""
        ...

    def predicted(self) -> Sequence[tuple[str, int, Work]]:
        """Service, slot and work of the predictions that were told since the last call. Raises HotUnavailable."""
        ...

    def tell_predicted(self, service_id: str, works: Sequence[tuple[int, Work]]) -> None:
        """For engines: predictions that ended, by slot. Raises HotUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryPorts:
    """What the sampler and those who read its figures are given."""

    flow: Flow
    series: SeriesStore
    figures: Figures
    turns: Turns
    settings: TelemetrySettings
