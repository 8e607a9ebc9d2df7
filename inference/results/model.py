"""What is compared, and what a comparison says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from inference.tensors import Array

Outputs: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One output beside the same of the reference.

    `note`: what keeps them from being compared, or what to know of it; numbers are None where there is nothing to say.
    `max_abs`, `mean_abs`: over the places where both are finite. `cosine`: of both as one long vector.
    `top1_agreement`: share of rows whose largest entry stands at the same place. `equal_share`: of all elements.
    """

    name: str
    kind: str | None = None
    shape: tuple[int, ...] | None = None
    note: str | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None
    equal_share: float | None = None
    agrees: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Tasks of one service that are over; None means any. `since` and `until` are of their submission."""

    service_id: str
    version: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """How many ended so."""

    state: str
    error_code: str | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A completed task, and when."""

    id: str
    created_at: float
    started_at: float | None
    completed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the numbers of one output lie. `top1`: place of the largest entry -> share of the rows."""

    mean: float
    deviation: float
    least: float
    most: float
    top1: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared. `latencies_s` of `looked_at` of the newest completed tasks, in rising order."""

    name: str
    span: Span
    totals: tuple[Total, ...]
    looked_at: int
    latencies_s: tuple[float, ...]
    outputs: Mapping[str, Spread]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two tasks with the same input."""

    task_ids: tuple[str, str]
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        return all(one.agrees for one in self.differences)

    @property
    def max_abs(self) -> float:
        """Of the output that differs most; infinite where one cannot be compared."""
        return max((one.max_abs if one.max_abs is not None else float("inf") for one in self.differences), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`pairs`: of the same input, where that was asked for; None otherwise."""

    first: Side
    second: Side
    pairs: tuple[Pair, ...] | None = None
