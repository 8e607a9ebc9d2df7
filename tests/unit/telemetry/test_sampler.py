"""The sampler over fakes: what it tells, what it keeps, and what it makes up for."""

from collections import Counter

import pytest

from inference.errors import StoreUnavailable
from inference.telemetry import queues
from inference.telemetry.sample import Look, Work
from inference.telemetry.sampler import LATE_S, Sampler
from tests.fakes_telemetry import make_telemetry

S = "s"


@pytest.fixture
def ports():
    return make_telemetry()


@pytest.fixture
def sampler(ports):
    return Sampler(ports, by="me")


def done(*seconds, failed=0, **fields):
    """Work of tasks that took so long, each in an engine call of its own."""
    count = len(seconds)
    work = Work(completed=count, failed=failed, tasks_run=count, batches=count, latency_s=sum(seconds), **fields)
    work.errors = Counter({"engine_failed": failed} if failed else {})
    work.latencies.add(seconds)
    work.waits.add(seconds)
    return work


def until(ports, sampler, now):
    """Turns at each half second up to `now`, as the thread does; the last that was told."""
    while ports.flow.now < now:
        ports.flow.now += 0.5
        told = sampler.turn()
    return told


def begin(ports, sampler):
    ports.flow.now = 1_000.0 + LATE_S
    assert sampler.turn() is None


def rows(ports, step_s=1):
    return {at: span for (_, step, at), span in sorted(ports.series.rows.items()) if step == step_s}


def test_the_last_second_is_told_a_tenth_after_its_end(ports, sampler):
    begin(ports, sampler)
    ports.flow.works = {2000: {S: done(0.1, 0.3)}, 2001: {S: done(0.2, failed=1)}}
    ports.flow.there = {S: Look(instances=2)}

    told = until(ports, sampler, 1_001.0 + LATE_S)

    figures = told.of(S)
    assert (told.at, told.is_whole) == (1_001.0, True)
    assert (figures.throughput, figures.errors, figures.error_codes) == (3.0, 1.0, {"engine_failed": 1})
    assert (figures.latency, figures.error_ratio, figures.instances_ready) == (0.2, 0.25, 2)
    assert figures.latency_p99 == pytest.approx(0.3, rel=0.01)
    assert told.of("unknown").throughput == 0


def test_half_a_second_later_the_older_half_is_replaced(ports, sampler):
    begin(ports, sampler)
    ports.flow.works = {2000: {S: done(0.1)}, 2001: {S: done(0.2)}, 2002: {S: done(0.3)}}

    told = until(ports, sampler, 1_001.5 + LATE_S)

    assert not told.is_whole
    assert told.of(S).latency == 0.25


def test_what_was_committed_late_is_put_into_its_second(ports, sampler):
    begin(ports, sampler)
    ports.flow.works = {2000: {S: done(0.1)}}
    until(ports, sampler, 1_001.0 + LATE_S)

    ports.flow.works = {2000: {S: done(0.1, 2.0)}}
    until(ports, sampler, 1_002.0 + LATE_S)

    assert rows(ports)[1_000].work.completed == 2


def test_who_came_is_known_by_the_queue_and_by_what_ended(ports, sampler):
    begin(ports, sampler)
    ports.flow.lengths = {S: (10, 0)}
    until(ports, sampler, 1_001.0 + LATE_S)

    ports.flow.lengths = {S: (12, 4)}
    ports.flow.works = {2003: {S: done(0.1, 0.1, 0.1)}}
    until(ports, sampler, 1_002.0 + LATE_S)

    kept = rows(ports)[1_001]
    assert (kept.submitted, kept.queue_s, kept.running_s) == (9, 12, 4)


def test_what_left_the_queue_before_it_was_seen_to_end_did_not_come_less(ports, sampler):
    begin(ports, sampler)
    ports.flow.lengths = {S: (10, 0)}
    until(ports, sampler, 1_001.0 + LATE_S)
    ports.flow.lengths = {S: (6, 0)}
    until(ports, sampler, 1_002.0 + LATE_S)
    ports.flow.works = {2004: {S: done(0.1, 0.1, 0.1, 0.1)}}

    until(ports, sampler, 1_003.0 + LATE_S)

    assert sum(span.submitted for span in rows(ports).values()) == 0


def test_a_quiet_service_has_one_closing_row_and_then_one_a_minute(ports, sampler):
    ports.flow.now = 1_010.0 + LATE_S
    sampler.turn()
    ports.flow.there = {S: Look(instances=1, memory_bytes=5.0)}
    ports.flow.works = {2022: {S: done(0.1)}}

    until(ports, sampler, 1_090.0 + LATE_S)

    assert sorted(rows(ports)) == [1_011, 1_012, 1_020, 1_080]
    assert rows(ports)[1_012].work.completed == 0
    assert rows(ports)[1_080].memory_bytes == 5.0


def test_predictions_count_as_throughput_and_as_what_they_are(ports, sampler):
    begin(ports, sampler)
    told = done(0.01, 0.01)
    told.predictions, told.tasks_run, told.batches = 2, 0, 0.0
    ports.figures.waiting = [(S, 2001, told)]
    ports.flow.works = {2001: {S: done(0.04)}}

    figures = until(ports, sampler, 1_001.0 + LATE_S).of(S)

    assert (figures.throughput, figures.predictions) == (3.0, 2.0)
    assert figures.latency == 0.02
    assert figures.batch_size == 1.0


@pytest.mark.parametrize("slot", [2000, 2001, 2002])
def test_predictions_that_are_told_after_their_second_count_in_the_next_one(ports, sampler, slot):
    begin(ports, sampler)
    until(ports, sampler, 1_001.0 + LATE_S)
    told = done(0.01)
    told.predictions = 1
    ports.figures.waiting = [(S, slot, told)]

    until(ports, sampler, 1_002.0 + LATE_S)

    assert [one.of(S).predictions for one in ports.figures.told if one.is_whole] == [0.0, 1.0]
    assert {at: span.work.predictions for at, span in rows(ports).items()} == {1_001: 1}


def test_a_database_that_was_away_is_made_up_for(ports, sampler, monkeypatch):
    begin(ports, sampler)
    ports.flow.works = {slot: {S: done(0.1)} for slot in range(2000, 2040)}
    until(ports, sampler, 1_004.0 + LATE_S)
    with monkeypatch.context() as broken:
        broken.setattr(ports.series, "put", lambda spans: (_ for _ in ()).throw(StoreUnavailable("away")))
        ports.flow.now += 6.0
        with pytest.raises(StoreUnavailable):
            sampler.turn()

    until(ports, sampler, 1_020.0 + LATE_S)

    assert sum(span.work.completed for span in rows(ports).values()) == 40


def test_rows_that_could_not_be_written_lose_neither_what_came_nor_how_long_queues_were(ports, sampler, monkeypatch):
    begin(ports, sampler)
    ports.flow.lengths = {S: (5, 0)}
    until(ports, sampler, 1_001.0 + LATE_S)
    with monkeypatch.context() as broken:
        broken.setattr(ports.series, "put", lambda spans: (_ for _ in ()).throw(StoreUnavailable("away")))
        ports.flow.lengths = {S: (9, 0)}
        ports.flow.works = {2002: {S: done(0.1)}}
        for _ in range(4):
            ports.flow.now += 0.5
            with pytest.raises(StoreUnavailable):
                sampler.turn()

    until(ports, sampler, 1_005.0 + LATE_S)

    assert rows(ports)[1_001].queue_s == 9
    assert sum(span.submitted for span in rows(ports).values()) == 5
    assert sum(span.work.completed for span in rows(ports).values()) == 1


def test_without_redis_the_series_are_kept_all_the_same(ports, sampler):
    begin(ports, sampler)
    ports.figures.is_away = True
    ports.flow.works = {2000: {S: done(0.1)}}

    until(ports, sampler, 1_001.0 + LATE_S)

    assert rows(ports)[1_000].work.completed == 1


def test_who_has_not_the_duty_measures_nothing(ports, sampler):
    ports.turns.is_mine = False
    ports.flow.works = {2000: {S: done(0.1)}}

    told = until(ports, sampler, 1_005.0)

    assert told is None
    assert not ports.series.rows
    assert not ports.flow.asked


def test_queues_that_take_long_to_count_are_counted_less_often_and_nobody_is_lost(ports, sampler, monkeypatch):
    clock = [0.0]
    counted = []

    def slow():
        counted.append(ports.flow.now)
        clock[0] += 0.03
        return {S: (len(counted) * 100, 0)}

    monkeypatch.setattr(queues, "monotonic_s", lambda: clock[0])
    monkeypatch.setattr(ports.flow, "queues", slow)
    begin(ports, sampler)
    for _ in range(20):
        clock[0] += 0.5
        ports.flow.now += 0.5
        sampler.turn()

    kept = rows(ports)
    assert len(counted) == 4
    assert sum(span.submitted for span in kept.values()) == 300
    assert all(span.queue_s > 0 for span in kept.values())
