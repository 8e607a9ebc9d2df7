"""Series: spans add up, a question finds the rows that answer it, and points say what there is to say."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import InvalidField
from inference.settings import TelemetrySettings
from inference.telemetry.read import read, spans
from inference.telemetry.roll import Roller
from inference.telemetry.sample import Look, Work
from inference.telemetry.series import (
    FIVE_MINUTES,
    HOUR,
    MINUTE,
    MOST_POINTS,
    MOST_ROWS,
    Question,
    Span,
    question,
    rolled,
    second,
    width,
)
from tests.fakes_telemetry import make_telemetry

S = "s"
NOW = 1_000_000.0


def span(at, *latencies, queue=0, **look):
    work = Work(completed=len(latencies), latency_s=sum(latencies))
    work.latencies.add(latencies)
    return second(S, at, work, Look(queue_length=queue, **look), submitted=len(latencies))


def asked(since=None, until=None, step_s=None, now=NOW):
    return question(since, until, step_s, now=now, kept=TelemetrySettings())


@given(st.lists(st.tuples(st.integers(0, 400), st.lists(st.floats(0.001, 9.0), max_size=4)), max_size=30))
def test_rolled_once_or_twice_it_is_the_same(seconds):
    spans = [span(at, *latencies) for at, latencies in seconds]

    at_once = list(rolled(spans, 300))
    in_steps = list(rolled(rolled(spans, 60), 300))

    assert [(one.at, one.work.completed, one.work.latencies) for one in at_once] == [
        (one.at, one.work.completed, one.work.latencies) for one in in_steps
    ]


def test_a_mean_of_gauges_counts_only_seconds_in_which_somebody_looked():
    blind = second(S, 2, Work(completed=1), None, submitted=0)

    (wide,) = rolled([span(0, cpu=1.0), span(1, cpu=2.0), blind], 60)

    assert (wide.cpu, wide.looks, wide.work.completed) == (1.5, 2, 1)


def test_a_queue_is_averaged_over_the_whole_step_also_where_there_are_no_rows():
    ports = make_telemetry()
    ports.flow.now = NOW
    ports.series.put([span(600, queue=30), span(601, queue=90)])

    (point,) = read(ports, S, Question(since=600, until=660, step_s=60))

    assert (point.figures.queue_length, point.queue_most) == (2, 90)


def test_the_step_that_is_not_over_counts_for_what_is_of_it():
    ports = make_telemetry()
    ports.flow.now = 610.0
    ports.series.put([span(601, *[0.1] * 20)])

    (point,) = read(ports, S, Question(since=600, until=660, step_s=60))

    assert point.figures.throughput == 2.0


def test_an_answer_counts_each_second_once_while_the_roller_is_behind():
    ports = make_telemetry()
    ports.flow.now = 4 * HOUR + 90.0
    for at in range(0, 4 * HOUR + 90, 30):
        ports.series.put([span(at, 0.1)])
        if at % MINUTE == 0:
            Roller(ports).roll(at)

    points = read(ports, S, Question(since=0, until=5 * HOUR, step_s=HOUR))

    assert [round(point.figures.throughput * HOUR) for point in points[:4]] == [120] * 4
    assert round(points[4].figures.throughput * 90) == 3
    assert ports.series.newest(MINUTE) < 4 * HOUR + 60
    assert ports.series.newest(HOUR) == 3 * HOUR


def test_five_minutes_are_read_from_their_rows_and_say_what_the_minutes_say():
    ports = make_telemetry()
    ports.flow.now = 3_000.0
    ports.series.put([span(at, 0.1, at / 1_000) for at in range(0, 2_990, 7)])
    asked = Question(since=0, until=3_000, step_s=FIVE_MINUTES)
    before = read(ports, S, asked)

    Roller(ports).roll(3_000)
    after, rows = read(ports, S, asked), spans(ports, S, asked)

    assert after == before
    assert [row.step_s for row in rows].count(FIVE_MINUTES) == 9


def test_the_roller_goes_on_after_a_long_pause_and_repeats_nothing():
    ports = make_telemetry()
    ports.series.put([span(at, 0.1) for at in (60, 61, 9_000, 9_001)])

    written = Roller(ports).roll(9_100)
    again = Roller(ports).roll(9_100)

    assert written == 4  # a minute, five of them and an hour before the pause, a minute after it
    assert again == 0


def test_old_rows_go_each_kind_in_its_time():
    ports = make_telemetry()
    ports = dataclasses.replace(ports, settings=dataclasses.replace(ports.settings, keep_seconds_s=120))
    ports.series.put([span(at, 0.1) for at in (60, 1_000)])

    Roller(ports).turn(1_100)

    assert [at for (_, step, at) in ports.series.rows if step == 1] == [1_000]
    assert [at for (_, step, at) in ports.series.rows if step == 60] == [60, 960]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, (996_390, 1_000_005, 15)),
        ({"since": NOW - 10}, (NOW - 10, NOW, 1)),
        ({"since": NOW - 7_200, "until": NOW - 7_100}, (992_760, 992_940, 60)),
        ({"since": NOW - 86_400}, (913_500, 1_000_200, 300)),
        ({"since": NOW - 90 * 86_400, "step_s": 86_400}, (0, 1_036_800, 86_400)),
        ({"since": NOW + 50, "until": NOW + 60}, (0, 0, 1)),
        ({"since": 0.0, "until": 10.0, "now": 1e9}, (0, 0, 1)),
        ({"since": 0.0, "now": 1e9}, (965_433_600, 1_000_080_000, 86_400)),
    ],
)
def test_what_was_not_said_is_chosen(given, wanted):
    found = asked(**given)

    assert (found.since, found.until, found.step_s) == wanted


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"since": 20.0, "until": 10.0}, "from"),
        ({"since": NOW - 86_400, "step_s": 1}, "step"),
        ({"since": NOW - 86_400, "step_s": 90}, "step"),
        ({"since": NOW - 7 * 86_400, "step_s": 240}, "step"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_the_parameter(given, field):
    with pytest.raises(InvalidField) as refused:
        asked(**given)

    assert refused.value.details["field"] == field


@given(st.floats(1, 400 * 86_400))
def test_a_step_that_nobody_chose_is_never_refused(range_s):
    found = asked(NOW * 100 - range_s, now=NOW * 100)

    assert (found.until - found.since) / width(found.step_s) <= MOST_ROWS


@given(st.floats(0, NOW), st.floats(0, 2 * NOW), st.one_of(st.none(), st.sampled_from((1, 7, 60, 3_600))))
def test_no_question_gives_more_points_than_allowed(since, until, step_s):
    try:
        found = asked(since, until, step_s)
    except InvalidField:
        return

    assert (found.until - found.since) / found.step_s <= MOST_POINTS
    assert found.since % found.step_s == found.until % found.step_s == 0


def test_a_span_of_nothing_has_no_latency():
    (wide,) = rolled([Span(service_id=S, step_s=1, at=0)], 60)

    assert wide.work.latencies.quantile(0.5) is None
