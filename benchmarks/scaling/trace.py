"""Traces: when each job comes and how long it takes; read from a file, cut, or made up."""

import csv
import functools
import itertools
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

AZURE = Path(__file__).resolve().parents[1] / "data" / "azure_llm_2023_code.csv"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Jobs by arrival. `at_s`: seconds since the first one, ascending. `work_s`: what an instance needs for each."""

    name: str
    at_s: Sequence[float]
    work_s: Sequence[float]

    @functools.cached_property
    def gap_squares(self) -> Sequence[float]:
        """For each job the sum of the squares of all gaps between arrivals up to it."""
        gaps = (later - sooner for sooner, later in itertools.pairwise(self.at_s))
        return list(itertools.accumulate((gap * gap for gap in gaps), initial=0.0))

    def before(self, moment_s: float) -> int:
        """How many jobs had come by then."""
        return bisect_right(self.at_s, moment_s)

    def busiest(self, window_s: float) -> int:
        """The most jobs that came in one of the windows of such a length, side by side from the first job on."""
        return max(Counter(int(at // window_s) for at in self.at_s).values())

    def part(self, name: str, from_s: float, to_s: float) -> "Trace":
        """What came from `from_s` on and before `to_s`, with its clock set to nought."""
        kept = [(at - from_s, work) for at, work in zip(self.at_s, self.work_s, strict=True) if from_s <= at < to_s]
        return Trace(name=name, at_s=[at for at, _ in kept], work_s=[work for _, work in kept])


def work_s(context: int, generated: int) -> float:
    """Seconds that one instance needs for a request, unbatched: the model that the data's description proposes."""
    return 0.10 + 0.0002 * context + 0.015 * generated


def read(path: Path) -> Trace:
    """A CSV file with the columns TIMESTAMP, ContextTokens and GeneratedTokens, as Azure publishes them.

    Raises ValueError for a file of another form, and OSError when it cannot be read.
    """
    with path.open(newline="") as file:
        try:
            rows = sorted(_job(row) for row in csv.DictReader(file))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} has no rows of TIMESTAMP,ContextTokens,GeneratedTokens: {error}") from error
    if len(rows) < 2 or rows[0][0] == rows[-1][0]:
        raise ValueError(f"{path} needs two requests at different times, at least")
    return Trace(name=path.stem, at_s=[at - rows[0][0] for at, _ in rows], work_s=[work for _, work in rows])


def _job(row: dict[str, str]) -> tuple[float, float]:
    """Arrival, work. Azure writes seven decimals, one more than Python reads."""
    arrival = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC).timestamp()
    return arrival, work_s(int(row["ContextTokens"]), int(row["GeneratedTokens"]))


def steady(per_s: float, *, seconds: float, work: Sequence[float], seed: int) -> Trace:
    """Poisson arrivals at one rate; the work of each is drawn from `work`."""
    return _draw("poisson", per_s, per_s, period_s=seconds, seconds=seconds, work=work, seed=seed)


def square(low: float, high: float, *, period_s: float, seconds: float, work: Sequence[float], seed: int) -> Trace:
    """Poisson arrivals whose rate is `low` for half a period and `high` for the other half."""
    return _draw("square wave", low, high, period_s=period_s, seconds=seconds, work=work, seed=seed)


def _draw(
    name: str, low: float, high: float, *, period_s: float, seconds: float, work: Sequence[float], seed: int
) -> Trace:
    draw = random.Random(seed)
    at_s, moments = 0.0, []
    while (at_s := at_s + draw.expovariate(high)) < seconds:
        if at_s % period_s >= period_s / 2 or draw.random() * high < low:
            moments.append(at_s)
    return Trace(name=name, at_s=moments, work_s=[draw.choice(work) for _ in moments])
