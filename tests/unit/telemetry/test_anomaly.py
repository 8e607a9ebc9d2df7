"""Anomalies: what is found, what is left alone, and that chance alone raises no alarm."""

import random

import pytest

from inference.telemetry.anomaly import Measure, Minute, anomalies, ranges
from inference.telemetry.series import DAY

START = 20_000 * DAY


def history(length, *, count=600, latency=0.2, ratio=0.01, noise=0.05, start=START, seed=1):
    dice = random.Random(seed)
    return [
        Minute(
            at=start + 60 * number,
            count=max(0, round(dice.gauss(count, count**0.5))),
            latency=latency * dice.lognormvariate(0, noise),
            error_ratio=max(0.0, dice.gauss(ratio, (ratio / count) ** 0.5)),
        )
        for number in range(length)
    ]


def changed(known, first, last, **changes):
    fields = ("at", "count", "latency", "error_ratio")
    return [
        Minute(**({name: getattr(minute, name) for name in fields} | (changes if first <= number < last else {})))
        for number, minute in enumerate(known)
    ]


def judged(known, *, since=0, until=10_000):
    return anomalies(known, since=START + 60 * since, until=START + 60 * until)


def test_a_day_of_chance_raises_no_alarm():
    assert judged(history(1_440)) == []


@pytest.mark.parametrize(
    ("changes", "measure", "sign"),
    [
        ({"count": 1_500}, Measure.RATE, 1),
        ({"count": 100}, Measure.RATE, -1),
        ({"latency": 0.6}, Measure.LATENCY, 1),
        ({"error_ratio": 0.2}, Measure.ERRORS, 1),
    ],
)
def test_what_lasts_three_minutes_is_found_with_its_size(changes, measure, sign):
    (found,) = judged(changed(history(200), 150, 154, **changes))

    assert (found.measure, found.since, found.until) == (measure, START + 150 * 60, START + 154 * 60)
    assert found.score * sign > 5
    assert found.value == pytest.approx(next(iter(changes.values())) / (60 if measure is Measure.RATE else 1))
    assert found.expected == pytest.approx(
        {Measure.RATE: 10, Measure.LATENCY: 0.2, Measure.ERRORS: 0.01}[measure], rel=0.5
    )


@pytest.mark.parametrize(
    ("last", "changes"), [(152, {"count": 5_000}), (160, {"latency": 0.01}), (160, {"error_ratio": 0.0})]
)
def test_what_is_short_or_good_is_left_alone(last, changes):
    assert judged(changed(history(200), 150, last, **changes)) == []


def test_what_happens_every_day_at_this_hour_is_no_anomaly():
    known = []
    for day in range(4):
        known += changed(history(300, start=START + day * DAY, seed=day), 200, 230, count=3_000)

    found = anomalies(known, since=START + 3 * DAY, until=START + 3 * DAY + 300 * 60)

    assert found == []


def test_what_was_wild_in_the_past_does_not_hide_what_is_wild_now():
    known = changed(changed(history(200), 100, 110, latency=5.0), 150, 155, latency=1.0)

    found = judged(known, since=120)

    assert [anomaly.since for anomaly in found] == [START + 150 * 60]


def test_traffic_in_bursts_is_no_anomaly_though_most_minutes_are_silent():
    dice = random.Random(5)
    known = [
        Minute(at=START + 60 * number, count=dice.choice((0, 0, 0, 300)) if number // 5 % 3 else 300)
        for number in range(600)
    ]

    assert judged(known) == []


def test_without_a_past_nothing_is_said():
    assert judged(changed(history(20), 10, 20, count=9_999)) == []


def test_a_few_tasks_an_hour_are_too_few_to_judge():
    quiet = [Minute(at=START + 60 * number, count=number % 7 == 0) for number in range(300)]

    assert judged(quiet) == []


def test_the_ranges_hold_all_that_is_asked_of_the_past():
    known = changed(history(300), 200, 205, latency=1.0)
    since, until = START + 190 * 60, START + 300 * 60

    part = [one for one in known if any(begin <= one.at < end for begin, end in ranges(since, until))]

    assert anomalies(part, since=since, until=until) == anomalies(known, since=since, until=until) != []
