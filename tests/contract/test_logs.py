"""The log store on both databases."""

import json
from dataclasses import replace

import pytest

from inference.access.model import Scope
from inference.logs import analyse, query, retain
from inference.logs.keeper import Keeper
from inference.logs.model import EPOCH_S, Level, Question, Row, id_at, row
from inference.logs.ports import LogsPorts
from inference.settings import LogsSettings
from inference.store import logs
from inference.store.logs import SqlLogs

BEGIN = EPOCH_S + 150_000_000.0
ONE, OTHER = "1" * 32, "2" * 32
TASK = "a" * 32


@pytest.fixture
def store(database):
    return SqlLogs(database)


def entry(at: float, event: str = "job_failed", level: str = "error", **fields) -> Row:
    stamp = {"timestamp": "2020-01-01", "event": event, "level": level}
    made = row(stamp | fields, tick=7)
    return Row(**{name: getattr(made, name) for name in Row.__slots__} | {"id": id_at(BEGIN + at) + 7})


def events(found):
    return [one.event for one in found]


def test_entries_are_found_by_service_level_time_and_task_the_newest_first(store):
    store.put(
        [
            entry(1, "first", "info", service_id=ONE),
            entry(2, "second", "warning", service_id=ONE, job_id=TASK, reason="Füße \x00"),
            entry(3, "third", "error", service_id=ONE),
            entry(4, "of_another", "critical", service_id=OTHER),
            entry(5, "of_nobody", "debug"),
        ]
    )

    def found(**asked):
        return events(store.find(Question(**asked)))

    assert found() == ["of_nobody", "of_another", "third", "second", "first"]
    assert found(service_id=ONE) == ["third", "second", "first"]
    assert found(service_id=ONE, level=Level.WARNING) == ["third", "second"]
    assert found(level=Level.ERROR) == ["of_another", "third"]
    assert found(since=BEGIN + 2, until=BEGIN + 4) == ["third", "second"]
    assert found(task_id=TASK) == ["second"]
    assert found(service_id=ONE, limit=2) == ["third", "second"]
    last = store.find(Question(service_id=ONE, limit=2))[-1]
    assert found(service_id=ONE, before_id=last.id) == ["first"]
    assert last.fields["reason"] == "Füße \x00"
    assert last.at == pytest.approx(BEGIN + 2, abs=1e-5)


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("gradient", ["b", "a"]),
        ("gradient explo", ["a"]),
        ("EXPLODED", ["a"]),
        ('"gradient exploded"', ["a"]),
        ('"exploded gradient"', []),
        ("exploded gradient", ["a"]),
        ("layer-7.weights", ["a"]),
        ("显存", ["c"]),
        ("存不", ["c"]),
        ('"OR" NOT (x* ^', []),
        ("a' OR '1'='1", []),
        ("NEAR(gradient vanished)", []),
        ("words: gradient", []),
        ("& | ! gradient", ["b", "a"]),
        ("\\ ' gradient", ["b", "a"]),
    ],
)
def test_a_keyword_is_words_and_never_syntax(store, keyword, expected):
    store.put(
        [
            entry(1, "a", reason="The gradient exploded in /models/layer-7.weights"),
            entry(2, "b", reason="a gradient vanished"),
            entry(3, "c", reason="显存不足"),
        ]
    )

    asked = query.question(service_id=None, keyword=keyword)

    assert events(store.find(asked)) == expected


def test_a_frequent_word_is_found_from_the_newest_on_as_a_rare_one_is(store, monkeypatch):
    monkeypatch.setattr(logs, "FEW", 5)
    store.put([entry(n, f"e{n}", service_id=ONE if n % 2 else OTHER, reason="frequent") for n in range(20)])
    store.put([entry(n + 0.5, f"r{n}", service_id=ONE, reason="rare") for n in range(3)])

    def found(keyword, **asked):
        return events(store.find(replace(query.question(keyword=keyword, **asked), limit=3)))

    assert found("frequent", service_id=None) == ["e19", "e18", "e17"]
    assert found("frequent", service_id=OTHER) == ["e18", "e16", "e14"]
    assert found("frequent", service_id=OTHER, until=BEGIN + 5) == ["e4", "e2", "e0"]
    assert found("rare", service_id=None) == ["r2", "r1", "r0"]
    assert found("none", service_id=None) == []


def test_words_are_combined_with_everything_else(store):
    store.put([entry(n, f"e{n}", level, service_id=who) for n, (level, who) in enumerate(PAIRS)])
    store.put([entry(9, "other", service_id=ONE)])

    asked = query.question(service_id=ONE, keyword="e", level="warning", since=BEGIN + 1, until=BEGIN + 4)

    assert events(store.find(asked)) == ["e2", "e1"]


PAIRS = [("error", ONE), ("error", ONE), ("warning", ONE), ("error", OTHER), ("error", ONE), ("info", ONE)]


def test_an_entry_that_is_put_twice_is_there_once(store):
    rows = [entry(1), entry(2)]

    store.put(rows)
    store.put([*rows, entry(3)])

    assert len(store.find(Question())) == 3


def test_what_is_deleted_is_no_longer_found_by_its_words(store):
    store.put([entry(n, f"number{n}") for n in range(10)])
    ports = LogsPorts(store=store, deploys=store, settings=LogsSettings(keep_s=1e9, keep_rows=4))

    removed = retain.retain(ports)

    assert removed == 6
    assert events(store.find(Question())) == ["number9", "number8", "number7", "number6"]
    assert [len(store.find(query.question(service_id=None, keyword=word))) for word in ("number1", "number7")] == [0, 1]


def test_entries_go_when_they_are_old(store):
    store.put([entry(1), row({"event": "young", "level": "info"}, tick=0)])
    ports = LogsPorts(store=store, deploys=store, settings=LogsSettings(keep_s=3600))

    assert retain.retain(ports) == 1
    assert events(store.find(Question())) == ["young"]


def test_the_analysis_counts_groups_and_says_what_is_new(store):
    store.put([entry(n, reason=f"no room for {n} MB at 0x7f{n}") for n in (1, 100, 101, 102)])
    store.put([entry(103, "load_failed", reason="no such file '/a/b'", service_id=ONE)])
    store.put([entry(n, "worker_started", "info") for n in (104, 105, 170)])
    ports = LogsPorts(store=store, deploys=store, settings=LogsSettings())

    found = analyse.analyse(ports, Question(), since=BEGIN + 60, until=BEGIN + 180)

    assert found.counts == {"error": 4, "info": 3}
    assert sum(sum(bucket.counts.values()) for bucket in found.buckets) == 7
    assert all(bucket.at % found.step_s == 0 for bucket in found.buckets)
    assert found.buckets[0].at <= BEGIN + 100 < found.buckets[0].at + found.step_s
    assert [(group.count, group.is_new) for group in found.groups] == [(3, False), (1, True)]
    assert (found.groups[0].first_at, found.groups[0].last_at) == pytest.approx((BEGIN + 100, BEGIN + 102))
    assert found.groups[1].message == "load_failed: no such file '/a/b'"
    assert found.top == [("job_failed", 3), ("worker_started", 3), ("load_failed", 1)]


def test_before_and_after_a_moment_are_compared(store):
    store.put([entry(n, "slow", "warning") for n in (10, 20)])
    store.put([entry(n, "broken") for n in (110, 120, 130)])
    ports = LogsPorts(store=store, deploys=store, settings=LogsSettings())

    change = analyse.compare(ports, Question(), at=BEGIN + 100, now=BEGIN + 200)

    assert [group.message for group in change.appeared] == ["broken"]
    assert [group.message for group in change.ended] == ["slow"]
    assert (change.before.per_hour, change.after.per_hour) == ({"warning": 72.0}, {"error": 108.0})


def test_entries_by_many_reach_the_store_through_the_keeper(store):
    shed = []
    keeper = Keeper(store, LogsSettings(queue=100), shed=shed.append)

    for number in range(120):
        keeper.queue.put({"event": f"e{number}", "level": "info", "timestamp": "2026-11-20T12:00:00Z"})
    keeper.queue.put({"event": "too low", "level": "debug"})
    keeper.turn()

    found = store.find(Question(limit=1000))
    assert len(found) == 101
    assert shed == [20]
    told = next(one for one in found if one.event == "log_entries_shed")
    assert json.dumps(told.fields["count"]) == "20"


def test_nobody_has_deployed_what_is_not_there(store):
    assert store.deployed_at(Scope("default"), ONE) is None
