"""Children that do not come: loads that fail, and a Celery that replaces nobody."""

import subprocess
import sys

import pytest

from inference.errors import HotUnavailable
from tests.unit.workers.pulses import put
from workers import supervisor as supervisor_room
from workers.pulse import Field, Phase
from workers.supervisor import CHILDLESS_EXIT, LOAD_FAILED_EXIT


def test_three_loads_that_ended_early_stop_the_worker(watch, record, stores, codes):
    for _ in range(3):
        died = subprocess.Popen([sys.executable, "-c", "pass"])
        put(record, died.pid, Phase.LOADING, instance="")
        watch._watch(0, record)
        died.wait(5)
        watch._watch(0, record)

    assert codes == [LOAD_FAILED_EXIT]
    assert len(stores.failures) == 3


def test_a_load_that_failed_with_a_reason_is_not_given_another_one(watch, record, stores):
    died = subprocess.Popen([sys.executable, "-c", "pass"])
    put(record, died.pid, Phase.LOAD_FAILED, instance="")
    watch._watch(0, record)
    died.wait(5)

    watch._watch(0, record)

    assert stores.failures == []
    assert watch._died_loading == 1


def test_a_child_that_loaded_and_died_between_two_looks_did_not_die_loading(watch, record, stores, codes):
    for _ in range(4):
        died = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        put(record, died.pid, Phase.LOADING, instance="")
        watch._tick()

        record.set(Field.LOADS, record.get(Field.LOADS) + 1)
        put(record, died.pid, Phase.RUNNING)
        died.kill()
        died.wait(5)
        watch._tick()

    assert stores.failures == []
    assert codes == []
    assert stores.ended == [("i" * 32, 7)] * 4


def test_a_child_that_loaded_died_and_was_replaced_between_two_looks_did_not_die_loading(watch, record, child):
    record.set(Field.LOADS, 3)
    put(record, 999_999_999, Phase.LOADING, instance="")
    watch._seen[0] = supervisor_room._look(record)

    record.set(Field.LOADS, 4)
    put(record, child.pid, Phase.LOADING, instance="")
    watch._tick()

    assert watch._died_loading == 0


def test_a_worker_whose_children_are_not_replaced_ends(watch, record, child, codes, monkeypatch):
    put(record, child.pid, Phase.IDLE)
    watch._tick()
    child.kill()
    child.wait()
    watch._tick()
    before = list(codes)

    monkeypatch.setattr(supervisor_room, "CHILDLESS_S", 0.0)
    watch._tick()

    assert before == []
    assert codes == [CHILDLESS_EXIT]


def test_a_worker_that_misses_a_child_while_redis_is_away_ends_between_two_batches(
    watch, record, pulse, child, codes, monkeypatch
):
    def away():
        raise HotUnavailable("away", part="redis")

    monkeypatch.setattr(supervisor_room, "SHORT_S", 0.0)
    monkeypatch.setattr(watch._link, "ping", away)
    pulse.wanted = 2
    put(record, child.pid, Phase.RUNNING)

    watch._tick()
    watch._tick()
    while_it_runs = list(codes)
    record.enter(Phase.IDLE)
    watch._tick()

    assert record.get(Field.IS_STOPPING) == 1
    assert while_it_runs == []
    assert codes == [CHILDLESS_EXIT]


def test_a_worker_that_misses_a_child_while_redis_is_there_leaves_that_to_celery(
    watch, record, pulse, child, codes, monkeypatch
):
    monkeypatch.setattr(supervisor_room, "SHORT_S", 0.0)
    monkeypatch.setattr(watch._link, "ping", lambda: None)
    pulse.wanted = 2
    put(record, child.pid, Phase.IDLE)

    watch._tick()
    watch._tick()

    assert record.get(Field.IS_STOPPING) == 0
    assert codes == []


@pytest.mark.parametrize(("had_child", "expected"), [(True, [CHILDLESS_EXIT]), (False, [])])
def test_a_worker_whose_child_died_while_redis_is_away_ends_soon_and_one_that_starts_does_not(
    watch, record, child, codes, monkeypatch, had_child, expected
):
    def away():
        raise HotUnavailable("away", part="redis")

    monkeypatch.setattr(supervisor_room, "ORPHANED_S", 0.0)
    monkeypatch.setattr(watch._link, "ping", away)
    if had_child:
        put(record, child.pid, Phase.IDLE)
    watch._tick()

    child.kill()
    child.wait()
    watch._tick()

    assert codes == expected


def test_a_draining_worker_may_be_without_children(watch, codes, monkeypatch):
    monkeypatch.setattr(supervisor_room, "CHILDLESS_S", 0.0)
    watch.drain()

    watch._tick()

    assert codes == []
