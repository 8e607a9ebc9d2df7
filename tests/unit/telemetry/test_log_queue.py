"""The bounded queue of entries, and how often something may be logged at all."""

from inference.telemetry import allowance, log_queue
from inference.telemetry.allowance import Allowance
from inference.telemetry.log_queue import LogQueue


def entry(number, level="info"):
    return {"event": f"e{number}", "level": level}


def test_a_full_queue_sheds_what_comes_and_says_how_much():
    queue = LogQueue(most=3, level=20)

    for number in range(5):
        queue.put(entry(number))

    assert [one["event"] for one in queue.take(10)] == ["e0", "e1", "e2"]
    assert (queue.take_shed(), queue.take_shed()) == (2, 0)
    queue.drop(2)
    queue.put(entry(9))
    assert [one["event"] for one in queue.take(10)] == ["e2", "e9"]


def test_what_is_below_the_level_is_not_queued():
    queue = LogQueue(most=3, level=30)

    for level in ("debug", "info", "warning", "critical", "unheard of"):
        queue.put(entry(1, level))

    assert [one["level"] for one in queue.take(10)] == ["warning", "critical"]


def test_without_a_keeper_nothing_is_queued():
    assert log_queue.Here.queue is None
    log_queue.offer(entry(1))


def test_an_allowance_is_used_up_and_grows_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(allowance, "monotonic_s", lambda: now[0])
    allowed = Allowance(per_s=2.0, burst=3)

    first = [allowed.take() for _ in range(5)]
    now[0] += 1.0
    later = [allowed.take() for _ in range(3)]

    assert first == [True, True, True, False, False]
    assert later == [True, True, False]
    assert (allowed.unlogged(), allowed.unlogged()) == (3, 0)
