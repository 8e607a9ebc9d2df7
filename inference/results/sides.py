"""Two versions on the same inputs, or two times: what a service did, side by side."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from inference.access.model import Scope
from inference.results.difference import TOLERANCE, differences, read, top1
from inference.results.model import Comparison, Ended, Outputs, Pair, Side, Span, Spread
from inference.results.ports import ResultsPorts

MOST_TASKS = 5_000
"""Of the newest completed tasks of a side, latencies are read and inputs looked for on the other."""

MOST_RESULTS = 500
"""Results of a side, or pairs of results, that are read."""

Seen = tuple[Side, Sequence[Ended]]


def compare_versions(
    ports: ResultsPorts,
    *,
    scope: Scope,
    service_id: str,
    versions: tuple[str, str],
    since: float | None,
    until: float | None,
    tolerance: float = TOLERANCE,
) -> Comparison:
    """What both answered, and how far apart they are where they were asked the same; of the newest pairs."""
    spans = [Span(service_id=service_id, version=version, since=since, until=until) for version in versions]
    (first, mine), (second, its) = (_side(ports, scope, name, span) for name, span in zip(versions, spans, strict=True))
    return Comparison(first=first, second=second, pairs=_pairs(ports, scope, mine, its, tolerance))


def compare_spans(ports: ResultsPorts, *, scope: Scope, spans: tuple[Span, Span]) -> Comparison:
    """What the service did in one time and in another."""
    (first, _), (second, _) = (
        _side(ports, scope, name, span) for name, span in zip(("first", "second"), spans, strict=True)
    )
    return Comparison(first=first, second=second)


def percentile(rising: Sequence[float], share: float) -> float | None:
    """The least value that so large a share is not above (nearest rank); None of nothing."""
    return rising[max(0, int(np.ceil(share * len(rising))) - 1)] if rising else None


def shift(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """Share of rows that would have to go to another class for both to be the same: 0 to 1 (total variation)."""
    return sum(abs(first.get(key, 0.0) - second.get(key, 0.0)) for key in {*first, *second}) / 2


def _side(ports: ResultsPorts, scope: Scope, name: str, span: Span) -> Seen:
    ended = ports.samples.newest(scope, span, limit=MOST_TASKS)
    bodies = ports.samples.bodies(scope, [one.id for one in ended[:MOST_RESULTS]])
    side = Side(
        name=name,
        span=span,
        totals=tuple(ports.samples.totals(scope, span)),
        looked_at=len(ended),
        latencies_s=tuple(sorted(one.completed_at - one.created_at for one in ended)),
        outputs=_spreads([read(body) for body in bodies.values()]),
    )
    return side, ended


def _pairs(
    ports: ResultsPorts, scope: Scope, mine: Sequence[Ended], its: Sequence[Ended], tolerance: float
) -> tuple[Pair, ...]:
    """The newest tasks of each input that both sides have."""
    ids = {digest: job_id for job_id, digest in reversed(_digests(ports, scope, mine))}
    twins: dict[bytes, tuple[str, str]] = {}
    for job_id, digest in _digests(ports, scope, its):
        if digest in ids and digest not in twins:
            twins[digest] = ids[digest], job_id
    asked = list(islice(twins.values(), MOST_RESULTS))
    bodies = ports.samples.bodies(scope, [job_id for pair in asked for job_id in pair])
    return tuple(
        Pair(task_ids=pair, differences=differences(read(bodies[pair[0]]), read(bodies[pair[1]]), tolerance=tolerance))
        for pair in asked
        if all(job_id in bodies for job_id in pair)
    )


def _digests(ports: ResultsPorts, scope: Scope, ended: Sequence[Ended]) -> list[tuple[str, bytes]]:
    """Newest first."""
    found = ports.samples.digests(scope, [one.id for one in ended])
    return [(one.id, found[one.id]) for one in ended if one.id in found]


def _spreads(answers: Sequence[Outputs]) -> dict[str, Spread]:
    found: dict[str, Spread] = {}
    for name in dict.fromkeys(name for one in answers for name in one):
        arrays = [one[name] for one in answers if name in one and one[name].dtype.kind in "biuf"]
        numbers = np.concatenate([array.astype(np.float64).ravel() for array in arrays]) if arrays else np.array([])
        numbers = numbers[np.isfinite(numbers)]
        if not numbers.size:
            continue
        places = [place.ravel() for place in map(top1, arrays) if place is not None]
        frequent = Counter(np.concatenate(places).tolist() if places else [])
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(numbers.mean()), float(numbers.std())
        found[name] = Spread(
            mean=mean,
            deviation=deviation,
            least=float(numbers.min()),
            most=float(numbers.max()),
            top1={place: count / frequent.total() for place, count in frequent.items()},
        )
    return found
