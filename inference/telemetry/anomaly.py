"""Anomalies: minutes far from the recent past and from the same hour of other days, in rate, latency or errors.

Each figure is first brought to a scale on which chance is about equally wide everywhere (root of counts, logarithm
of durations, arcsine of shares). There a value's distance from the median is measured in median absolute deviations,
which a few wild minutes in the past do not widen, and which are never taken to be narrower than chance makes them,
nor than what lies on the same side of the median reaches.
Sources: Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993), for the score; Anscombe (1948), the scales.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from inference.telemetry.series import DAY, MINUTE, Span

OF_NORMAL = 1.4826
"""Median absolute deviations of a normal distribution in its standard deviation."""
FAR, OF_FAR = 0.8, 1.1882
"""A quantile that a fault in a fifth of the past does not move, and its distances in the standard deviation."""


class Measure(StrEnum):
    """`errors` and `latency` are anomalous when high, `rate` also when low."""

    RATE = "rate"
    LATENCY = "latency"
    ERRORS = "errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How sure one wants to be: larger `score` and `minutes` mean fewer false alarms, and later true ones.

    `least`: past values without which nothing is said; `gap`: the last minutes before, which may be part of it.
    """

    score: float = 4.0
    minutes: int = 3
    recent: int = 60
    gap: int = 5
    least: int = 20
    days: int = 7
    around: int = 30
    fewest: int = 5
    step_s: int = MINUTE


USUAL = Rules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What a minute is judged by. `count`: what ended. `latency`: the 95th percentile, None when too little did."""

    at: int
    count: int
    latency: float | None = None
    error_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """From `since` until before `until` `measure` was far off; `value`, `expected` and `score` are of its worst minute.

    The unit of a rate is what ended per second. A negative score is a value below the expected one.
    """

    measure: Measure
    since: int
    until: int
    value: float
    expected: float
    score: float


def minutes(spans: Iterable[Span], *, fewest: int = USUAL.fewest) -> list[Minute]:
    """Of spans of a minute, by time. With fewer than `fewest` ends there is neither a latency nor a ratio."""
    found = []
    for span in spans:
        work = span.work
        count = work.completed + work.failed
        is_enough = count >= fewest
        found.append(
            Minute(
                at=span.at,
                count=count,
                latency=work.latencies.quantile(0.95) if is_enough else None,
                error_ratio=work.failed / count if is_enough else None,
            )
        )
    return found


def anomalies(known: Sequence[Minute], *, since: int, until: int, rules: Rules = USUAL) -> list[Anomaly]:
    """Those that reach into this range, by time. `known`, by time, reaches as far back as there is anything."""
    found: list[Anomaly] = []
    for measure in Measure:
        past = _Past(known, measure, rules)
        found += _episodes(past, measure, since=since, until=until, rules=rules)
    return sorted(found, key=lambda anomaly: (anomaly.since, anomaly.measure))


def ranges(since: int, until: int, rules: Rules = USUAL) -> Iterator[tuple[int, int]]:
    """Which minutes must be known to judge this range."""
    margin = rules.around * rules.step_s
    for day in range(rules.days, 0, -1):
        yield since - day * DAY - margin, until - day * DAY + margin
    yield since - (rules.recent + rules.gap + rules.minutes) * rules.step_s, until


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    at: int
    value: float
    expected: float
    score: float


class _Past:
    """The values of one measure on its scale, and what they say of a new one."""

    def __init__(self, known: Sequence[Minute], measure: Measure, rules: Rules) -> None:
        self._measure, self._rules = measure, rules
        told = [(minute, value) for minute in known if (value := _value(minute, measure)) is not None]
        self.minutes = [minute for minute, _ in told]
        self._at = [minute.at for minute in self.minutes]
        self._scaled = [_scaled(value, measure) for _, value in told]

    def judge(self, index: int) -> _Judged | None:
        """None while too little is known, or when it is nothing to worry about. The milder of the two scores counts."""
        rules, scores = self._rules, list[tuple[float, float]]()
        for past in self._pasts(self._at[index]):
            if len(past) >= rules.least:
                scores.append(self._score(index, past))
                if abs(scores[-1][1]) <= rules.score:  # then the milder one is no larger
                    return None
        if not scores:
            return None
        expected, score = min(scores, key=lambda one: abs(one[1]))
        if score < 0 and self._measure is not Measure.RATE:
            return None
        if any(one[1] * score < 0 for one in scores):  # too much for one, too little for the other
            return None
        minute = self.minutes[index]
        value = _value(minute, self._measure) or 0.0
        unit = rules.step_s if self._measure is Measure.RATE else 1
        return _Judged(at=minute.at, value=value / unit, expected=_plain(expected, self._measure) / unit, score=score)

    def _pasts(self, at: int) -> Iterator[Sequence[float]]:
        """The hour before, and the same hour of other days."""
        rules = self._rules
        yield self._between(at - (rules.recent + rules.gap) * rules.step_s, at - rules.gap * rules.step_s)
        margin = rules.around * rules.step_s
        yield [
            value
            for day in range(1, rules.days + 1)
            for value in self._between(at - day * DAY - margin, at - day * DAY + margin)
        ]

    def _between(self, since: int, until: int) -> Sequence[float]:
        return self._scaled[bisect_left(self._at, since) : bisect_left(self._at, until)]

    def _score(self, index: int, past: Sequence[float]) -> tuple[float, float]:
        rising = sorted(past)
        middle = median(rising)
        distance = self._scaled[index] - middle
        # More than half of traffic in bursts is silence: then the side of the value says how far traffic goes.
        end = rising[int((len(rising) - 1) * (FAR if distance > 0 else 1 - FAR))]
        width = max(
            OF_NORMAL * median([abs(value - middle) for value in rising]),
            OF_FAR * abs(end - middle),
        )
        count = max(1, self.minutes[index].count)
        least = max(_chance(self._measure, count), _small(self._measure, middle))
        return middle, distance / max(width, least)


def _value(minute: Minute, measure: Measure) -> float | None:
    values: Mapping[Measure, float | None] = {
        Measure.RATE: float(minute.count),
        Measure.LATENCY: minute.latency,
        Measure.ERRORS: minute.error_ratio,
    }
    return values[measure]


def _scaled(value: float, measure: Measure) -> float:
    if measure is Measure.RATE:
        return 2 * math.sqrt(value + 3 / 8)
    if measure is Measure.LATENCY:
        return math.log(max(value, 1e-6))
    return 2 * math.asin(math.sqrt(value))


def _plain(scaled: float, measure: Measure) -> float:
    """What has this place on the scale."""
    if measure is Measure.RATE:
        return max(0.0, (scaled / 2) ** 2 - 3 / 8)
    if measure is Measure.LATENCY:
        return math.exp(scaled)
    return math.sin(scaled / 2) ** 2


def _chance(measure: Measure, count: int) -> float:
    """The least width of chance on the scale, of a minute in which so much ended."""
    if measure is Measure.RATE:
        return 1.0
    return 1 / math.sqrt(count)


def _small(measure: Measure, middle: float) -> float:
    """What nobody cares about, however sure it is: 5 % of a rate, 10 % of a latency, some errors in a thousand."""
    return {Measure.RATE: 0.025 * middle, Measure.LATENCY: 0.1, Measure.ERRORS: 0.02}[measure]


def _episodes(past: _Past, measure: Measure, *, since: int, until: int, rules: Rules) -> Iterator[Anomaly]:
    """Runs of enough bad minutes on the same side, with what of them lies just before `since`."""
    begin = since - (rules.minutes - 1) * rules.step_s
    run: list[_Judged] = []
    for index, minute in enumerate(past.minutes):
        if not begin <= minute.at < until:
            continue
        judged = past.judge(index)
        goes_on = judged is not None and (not run or (judged.score > 0) == (run[-1].score > 0))
        if run and (not goes_on or minute.at != run[-1].at + rules.step_s):
            yield from _told(run, measure, since, rules)
            run = []
        if judged is not None:
            run.append(judged)
    yield from _told(run, measure, since, rules)


def _told(run: Sequence[_Judged], measure: Measure, since: int, rules: Rules) -> Iterator[Anomaly]:
    if len(run) < rules.minutes or run[-1].at < since:
        return
    worst = max(run, key=lambda judged: abs(judged.score))
    yield Anomaly(
        measure=measure,
        since=run[0].at,
        until=run[-1].at + rules.step_s,
        value=worst.value,
        expected=worst.expected,
        score=worst.score,
    )
