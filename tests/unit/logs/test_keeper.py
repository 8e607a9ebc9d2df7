"""The thread that takes entries to the store, when the store is well and when it is not."""

import threading

import pytest

from inference.errors import DataRefused, StoreUnavailable
from inference.logs import keeper as room
from inference.logs.keeper import Keeper
from inference.logs.model import MOST_FIELDS_CHARS, Level, Question, id_at, row
from inference.logs.query import Tail, question
from inference.settings import LogsSettings
from inference.telemetry.log_queue import Here
from tests.fakes_logs import FakeLogs, make_logs

AT = "2026-11-20T12:00:00.000001Z"


def entry(event, **more):
    return {"event": event, "level": "info", "timestamp": AT, **more}


@pytest.fixture
def store():
    return FakeLogs()


def test_entries_of_one_moment_are_told_apart_and_stay_in_order(store):
    keeper = Keeper(store, LogsSettings(), shed=print)
    for number in range(3):
        keeper.queue.put(entry(f"e{number}"))

    keeper.turn()

    assert sorted(row.event for row in store.rows.values()) == ["e0", "e1", "e2"]
    assert len(store.rows) == 3


def test_while_the_store_is_away_entries_wait_and_are_kept_later(store):
    keeper = Keeper(store, LogsSettings(), shed=print)
    keeper.queue.put(entry("early"))
    store.error = StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        keeper.turn()
    store.error = None
    kept = keeper.turn()

    assert kept == 1
    assert [row.event for row in store.rows.values()] == ["early"]


def test_an_entry_that_the_database_refuses_costs_its_mates_nothing(store):
    class Picky(FakeLogs):
        def put(self, rows):
            if any(row.event == "bad" for row in rows):
                raise DataRefused("no")
            super().put(rows)

    picky = Picky()
    keeper = Keeper(picky, LogsSettings(), shed=print)
    for event in ("a", "b", "bad", "c"):
        keeper.queue.put(entry(event))

    keeper.turn()

    assert sorted(row.event for row in picky.rows.values()) == ["a", "b", "c"]


def test_closing_keeps_what_waits_and_ends_the_thread(store, monkeypatch):
    monkeypatch.setattr(room, "PAUSE_S", 0.0)
    keeper = Keeper(store, LogsSettings(), shed=print).start()
    for number in range(450):
        Here.queue.put(entry(f"e{number}", number=number))

    keeper.close()

    assert len(store.rows) == 450
    assert Here.queue is None
    assert "log-keeper" not in [thread.name for thread in threading.enumerate()]


def test_a_row_holds_what_the_store_needs_whatever_was_logged():
    made = row(entry("x" * 9000, level="warning", job_id="a" * 99, reason="r" * 99_999, odd={1: object()}), tick=5)

    assert (len(made.event), made.task_id, made.level) == (8000, "a" * 32, 30)
    assert len(made.fields) <= MOST_FIELDS_CHARS
    assert made.fingerprint is not None
    assert made.id == id_at(1_795_176_000.000001) + 5


def test_an_entry_without_a_time_or_with_a_wrong_one_is_of_now():
    assert row({"event": "a", "timestamp": "never"}, tick=0).id > id_at(1_700_000_000)


def test_a_tail_tells_each_entry_once_also_one_that_comes_late(store):
    ports, now = make_logs(store), [1_795_176_100.0]
    tail = Tail(ports, Question(level=Level.INFO), since=1_795_176_000.0, now_s=lambda: now[0])

    def put(event, at):
        made = row(entry(event), tick=0)
        store.rows[id_at(at)] = type(made)(**{n: getattr(made, n) for n in made.__slots__} | {"id": id_at(at)})

    put("first", now[0] - 1)
    looks = [[one.event for one in tail.look()]]
    put("late", now[0] - 3)
    put("second", now[0])
    put("far too late", now[0] - 60)
    now[0] += 1
    looks.append([one.event for one in tail.look()])
    looks.append([one.event for one in tail.look()])

    assert looks == [["first"], ["late", "second"], []]


def test_a_level_is_taken_in_any_case():
    assert question(service_id=None, level="ERROR").level is Level.ERROR
