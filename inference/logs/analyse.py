"""What many entries say together: rates, groups of trouble, and what a deployment changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from inference.errors import InvalidField
from inference.logs.model import NAMES, Analysis, Bucket, Group, Question
from inference.logs.ports import LogsPorts

STEPS_S = (1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400)
EASY_BUCKETS = 120
MOST_GROUPS, MOST_TOP = 50, 20
MOST_RANGE_S = 35 * 86_400.0
HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What was logged before or after. `per_hour`: entries by level."""

    since: float
    until: float
    per_hour: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A deployment's before and after. `appeared`: trouble that was not there before; `ended`: that is not any more."""

    at: float
    before: Side
    after: Side
    appeared: Sequence[Group]
    ended: Sequence[Group]


def step_of(range_s: float) -> int:
    """As fine as gives few enough buckets to look at."""
    return next((step for step in STEPS_S if range_s / step <= EASY_BUCKETS), STEPS_S[-1])


def analyse(ports: LogsPorts, asked: Question, *, since: float, until: float) -> Analysis:
    """Of this range. Raises InvalidField for one that is empty or too long."""
    if not 0 < until - since <= MOST_RANGE_S:
        days = MOST_RANGE_S / 86_400
        raise InvalidField(f"The range must be longer than nothing, and {days:.0f} days at most.", field="from")
    asked = replace(asked, since=since, until=until)
    step_s = step_of(until - since)
    counts, steps = Counter[str](), dict[int, dict[str, int]]()
    for number, level, count in ports.store.counts(asked, step_s=step_s):
        name = NAMES.get(level, str(level))
        counts[name] += count
        steps.setdefault(number, {})[name] = count
    return Analysis(
        since=since,
        until=until,
        step_s=step_s,
        counts=counts,
        buckets=[Bucket(at=float(number * step_s), counts=found) for number, found in sorted(steps.items())],
        groups=ports.store.groups(asked, limit=MOST_GROUPS),
        top=ports.store.top(asked, limit=MOST_TOP),
    )


def compare(ports: LogsPorts, asked: Question, *, at: float, now: float, span_s: float = HOUR_S) -> Change:
    """Before and after a moment, as long on both sides as there is after it, `span_s` at most."""
    span_s = max(1.0, min(span_s, now - at))
    before, after = replace(asked, since=at - span_s, until=at), replace(asked, since=at, until=at + span_s)
    old, new = (_groups(ports, one) for one in (before, after))
    return Change(
        at=at,
        before=_side(ports, before, span_s),
        after=_side(ports, after, span_s),
        appeared=[group for mark, group in new.items() if mark not in old],
        ended=[group for mark, group in old.items() if mark not in new],
    )


def _groups(ports: LogsPorts, asked: Question) -> dict[str, Group]:
    return {group.fingerprint: group for group in ports.store.groups(asked, limit=1_000)}


def _side(ports: LogsPorts, asked: Question, span_s: float) -> Side:
    counts = Counter[str]()
    for _, level, count in ports.store.counts(asked, step_s=STEPS_S[-1]):
        counts[NAMES.get(level, str(level))] += count
    per_hour = {name: round(count * HOUR_S / span_s, 3) for name, count in counts.items()}
    return Side(since=asked.since or 0.0, until=asked.until or 0.0, per_hour=per_hour)
