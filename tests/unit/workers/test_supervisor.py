"""The supervisor's judgement of a child, on a real pulse file and real processes' ids, with stores in memory."""

import dataclasses
import os
import time

import pytest

from inference.clock import monotonic_s
from inference.errors import StoreUnavailable
from inference.serving.model import Observed
from inference.settings import WorkersSettings
from tests.unit.workers.pulses import put
from workers import supervisor as supervisor_room
from workers.pulse import Field, Phase
from workers.supervisor import SUPERSEDED_EXIT, is_alive


def test_a_child_within_its_deadline_keeps_its_lease(watch, record, stores, child):
    put(record, child.pid, Phase.RUNNING)

    watch._tick()

    assert stores.renewed == [{"i" * 32: 7}]
    assert stores.reports == [(Observed.READY, 1)]


def test_an_idle_child_needs_no_deadline(watch, record, stores, child):
    put(record, child.pid, Phase.IDLE, limit_s=0)

    watch._tick()

    assert stores.renewed == [{"i" * 32: 7}]


def test_a_child_past_its_deadline_gets_no_lease(watch, record, stores, child):
    put(record, child.pid, Phase.RUNNING, limit_s=-0.5)

    watch._tick()

    assert stores.renewed == []
    assert is_alive(child.pid)


def test_a_child_that_hangs_is_ended_and_its_jobs_come_back(watch, record, stores, child):
    put(record, child.pid, Phase.RUNNING, limit_s=-2)

    watch._tick()
    child.wait(5)
    watch._tick()

    assert child.returncode == -9
    assert stores.ended == [("i" * 32, 7)]
    assert stores.reaps == 1
    assert record.phase is Phase.EMPTY


def test_a_child_that_was_replaced_between_two_looks_is_buried_all_the_same(watch, record, stores, child):
    put(record, child.pid, Phase.RUNNING)
    watch._tick()

    put(record, os.getpid(), Phase.LOADING, instance="")
    watch._tick()

    assert stores.ended == [("i" * 32, 7)]
    assert record.phase is Phase.LOADING


def test_an_instance_that_the_store_no_longer_knows_is_ended(watch, record, stores, child):
    put(record, child.pid, Phase.IDLE)
    stores.valid = frozenset()

    watch._tick()

    assert child.wait(5) == -9


def test_a_generation_that_is_over_ends_the_worker(watch, stores, codes):
    stores.is_ours = False

    watch._tick()

    assert codes == [SUPERSEDED_EXIT]


def test_draining_tells_the_children_and_the_store(watch, record, stores, child):
    put(record, child.pid, Phase.IDLE)

    watch.drain()
    watch._tick()

    assert record.get(Field.IS_STOPPING) == 1
    assert stores.reports == [(Observed.DRAINING, 1)]


def test_a_store_that_is_away_does_not_end_the_thread(watch, record, stores, child, monkeypatch):
    monkeypatch.setattr(supervisor_room, "TICK_S", 0.01)
    put(record, child.pid, Phase.IDLE)
    stores.is_away = True
    watch.start()
    time.sleep(0.05)

    stores.is_away = False
    until = time.monotonic() + 5
    while not stores.renewed and time.monotonic() < until:
        time.sleep(0.01)
    watch.end()
    watch.join(5)

    assert stores.renewed


def test_the_slot_of_a_child_that_died_is_given_back(watch, record, child):
    released = []

    class Slots:
        def release_if_no_wake(self, service_id, *, slot, token):
            released.append((service_id, slot, token))
            return len(released) == 2

    watch._slots = Slots()
    put(record, child.pid, Phase.IDLE, limit_s=0)
    record.token = "t" * 16
    record.set(Field.SLOT, 3)
    watch._watch(0, record)

    child.kill()
    child.wait()
    watch._watch(0, record)

    assert released == [("s", 3, "t" * 16)] * 2


def run_batch(record, pid, *, jobs=4, running_s=10.0, expected_s=1.0, limit_s=60.0):
    put(record, pid, Phase.RUNNING, limit_s=limit_s)
    record.set(Field.JOBS, jobs)
    record.set(Field.BEGAN, monotonic_s() - running_s)
    record.set(Field.EXPECTED, expected_s)


def look_again(watch, seconds=2.0):
    """As if the last look, and what was asked for at it, were that long ago."""
    watch._looked_at -= seconds
    watch._stopping = {index: (progress, at - seconds) for index, (progress, at) in watch._stopping.items()}
    watch._tick()


def test_a_call_whose_jobs_are_all_cancelled_is_asked_to_end(watch, record, stores, child):
    run_batch(record, child.pid, jobs=2)
    stores.cancelled = {"i" * 32: 2}

    watch._tick()

    assert stores.asked == [{"i" * 32: 7}]
    assert record.get(Field.STOP) == record.get(Field.PROGRESS)
    assert is_alive(child.pid)


def test_a_call_that_will_end_soon_is_left_alone_for_its_other_jobs(watch, record, stores, child):
    run_batch(record, child.pid, jobs=2, running_s=0.5, expected_s=1.0)
    stores.cancelled = {"i" * 32: 1}

    watch._tick()

    assert record.get(Field.STOP) == 0


def test_a_child_that_goes_on_is_ended_and_nobody_is_charged(watch, record, stores, child):
    run_batch(record, child.pid, jobs=2)
    stores.cancelled = {"i" * 32: 2}
    watch._tick()

    look_again(watch)
    child.wait(5)
    watch._tick()

    assert stores.disowned == [("i" * 32, 7)]
    assert stores.ended == [("i" * 32, 7)]


def test_a_child_that_ended_its_call_in_time_lives(watch, record, stores, child):
    run_batch(record, child.pid, jobs=2)
    stores.cancelled = {"i" * 32: 2}
    watch._tick()
    stores.cancelled = {}
    record.enter(Phase.FINISHING, deadline=monotonic_s() + 30)

    look_again(watch)

    assert is_alive(child.pid)
    assert stores.disowned == []


def test_nothing_is_asked_while_no_call_is_under_way(watch, record, stores, child):
    put(record, child.pid, Phase.IDLE, limit_s=0)

    watch._tick()
    look_again(watch)

    assert stores.asked == []


def test_a_call_past_its_deadline_is_asked_to_end_before_its_process_is(watch, record, stores, child):
    run_batch(record, child.pid, limit_s=-0.5)

    watch._tick()

    assert record.get(Field.STOP) == record.get(Field.PROGRESS)
    assert is_alive(child.pid)


def test_a_call_that_outlasts_the_grace_is_asked_to_stop_then_its_child_ended_and_nobody_charged(
    watch, record, stores, child, monkeypatch
):
    put(record, child.pid, Phase.RUNNING)
    monkeypatch.setattr(supervisor_room, "DEAF_S", 0.0)
    watch._tick()
    before = record.get(Field.STOP)

    watch.drain()
    watch._tick()
    within_grace = record.get(Field.STOP)
    watch._calls_end_at = monotonic_s()
    watch._tick()
    asked = record.get(Field.STOP)
    watch._tick()
    child.wait(10)
    watch._tick()

    assert (before, within_grace) == (0, 0)
    assert asked > 0
    assert stores.disowned == [("i" * 32, 7)]


def test_a_store_that_was_away_is_asked_for_leases_again_in_the_next_tick(watch, record, stores, child):
    put(record, child.pid, Phase.RUNNING)
    watch._core.settings = dataclasses.replace(watch._core.settings, workers=WorkersSettings(renew_s=60))
    stores.is_away = True
    with pytest.raises(StoreUnavailable):
        watch._tick()

    stores.is_away = False
    watch._tick()
    watch._tick()

    assert len(stores.renewed) == 1
