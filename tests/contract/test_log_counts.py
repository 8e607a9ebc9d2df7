"""Counts of log entries: what an analysis reads of them is what counting the entries would give, to the entry."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from inference.logs.model import EPOCH_S, Level, Question, Row, id_at, row
from inference.store import log_counts
from inference.store.database import Database
from inference.store.logs import SqlLogs

BEGIN = EPOCH_S + 41_666 * 3_600.0
HOURS = 6
LEVELS = ("debug", "info", "warning", "error", "critical")
SERVICES = (None, "1" * 32, "2" * 32)


@pytest.fixture
def store(database: Database) -> SqlLogs:
    return SqlLogs(database)


@pytest.fixture
def rows(store: SqlLogs) -> list[Row]:
    """Five hundred entries of six hours, put in some batches; a long event, and some on the second of a span."""
    dice = random.Random(3)
    made = [_entry(dice, number) for number in range(500)]
    for first in range(0, len(made), 60):
        store.put(made[first : first + 60])
    return made


def _entry(dice: random.Random, number: int) -> Row:
    at = BEGIN + dice.choice((dice.random() * HOURS * 3_600, 300.0 * dice.randrange(HOURS * 12)))
    fields = {"event": dice.choice(("started", "ended", "x" * 300)), "level": dice.choice(LEVELS)}
    made = row(fields | {"service_id": dice.choice(SERVICES), "at": at}, tick=number)
    return replace(made, id=id_at(at) + number)


def _range(dice: random.Random) -> tuple[float, float]:
    if dice.random() < 0.3:
        return BEGIN + 3_600 * dice.randrange(3), BEGIN + 3_600 * dice.randrange(3, 7)
    since = BEGIN + dice.random() * HOURS * 3_600
    return since, since + dice.random() * HOURS * 3_600


def _asked(dice: random.Random) -> Question:
    since, until = _range(dice)
    return Question(
        service_id=dice.choice(SERVICES), level=dice.choice(list(Level)), since=since, until=max(until, since + 1)
    )


def _fits(one: Row, asked: Question) -> bool:
    return (
        asked.service_id in (None, one.service_id)
        and one.level >= asked.level.number
        and id_at(asked.since or 0) <= one.id < id_at(asked.until or 0)
    )


def test_counts_and_events_are_those_of_the_entries_whatever_the_range(store: SqlLogs, rows: list[Row]):
    dice = random.Random(4)

    for _ in range(40):
        asked, step_s = _asked(dice), dice.choice((60, 300, 900, 3_600))
        fitting = [one for one in rows if _fits(one, asked)]
        steps = Counter((_second(one) // step_s, one.level) for one in fitting)
        names = Counter(one.event[: log_counts.MOST_EVENT_CHARS] for one in fitting)

        counts = {(step, level): count for step, level, count in store.counts(asked, step_s=step_s)}
        top = store.top(asked, limit=20)

        assert counts == steps
        assert top == sorted(names.items(), key=lambda one: (-one[1], one[0]))


def _second(one: Row) -> int:
    return EPOCH_S + one.id // (4096 * 1_000_000)


def test_whole_spans_are_not_read_from_the_entries(store: SqlLogs, database: Database, rows: list[Row]):
    asked = Question(since=BEGIN, until=BEGIN + HOURS * 3_600)
    before = store.counts(asked, step_s=3_600), store.top(asked, limit=20)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM log_entries")

    after = store.counts(asked, step_s=3_600), store.top(asked, limit=20)

    assert sum(count for _, _, count in before[0]) > 400
    assert (sorted(after[0]), after[1]) == (sorted(before[0]), before[1])


def test_entries_that_are_put_twice_count_once(store: SqlLogs, rows: list[Row]):
    asked = Question(since=BEGIN, until=BEGIN + HOURS * 3_600)
    before = sorted(store.counts(asked, step_s=3_600))

    store.put([*rows[:50], *rows[:50]])

    assert sorted(store.counts(asked, step_s=3_600)) == before


def test_counts_go_with_their_entries(store: SqlLogs, database: Database, rows: list[Row]):
    store.forget(keep_s=0.0, keep_rows=1_000_000, limit=1_000)

    with database.read() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM log_counts").scalar_one()

    assert left == 0
