"""The supervisor's judgement, on a real pulse file and real processes' ids, with stores in memory."""

import dataclasses
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from inference.clock import monotonic_s
from inference.errors import HotUnavailable, StoreUnavailable
from inference.jobs.model import JobState
from inference.serving.model import Observed
from inference.settings import ProcessSettings, ServingSettings, Settings, WorkersSettings
from workers import supervisor as supervisor_room
from workers.pulse import Field, Phase, Pulse
from workers.supervisor import CHILDLESS_EXIT, LOAD_FAILED_EXIT, SUPERSEDED_EXIT, Supervisor, is_alive


class Stores:
    """Every store the supervisor touches, and what it said to each."""

    def __init__(self):
        self.renewed, self.ended, self.reaps, self.failures = [], [], 0, []
        self.asked, self.cancelled, self.disowned = [], {}, []
        self.valid, self.is_ours, self.reports, self.kicks, self.is_away = None, True, [], 0, False

    def renew(self, held, *, lease_s):
        if self.is_away:
            raise StoreUnavailable("away", part="sql")
        self.renewed.append(dict(held))
        return frozenset(held) if self.valid is None else self.valid

    def end(self, instance_id, generation):
        self.ended.append((instance_id, generation))

    def reap(self):
        self.reaps += 1
        return [("job", JobState.PENDING)]

    def unwanted(self, instances):
        self.asked.append(dict(instances))
        return {name: count for name, count in self.cancelled.items() if name in instances}

    def disown(self, by):
        self.disowned.append((by.instance_id, by.generation))
        return {"job": JobState.CANCELLED}

    def services_with_waiting(self):
        return []

    def views(self, ids):
        return []

    def note_load_failure(self, replica_id, generation, *, reason):
        self.failures.append(reason)
        return len(self.failures)

    def report(self, replica_id, generation, *, observed, instances_ready, pid):
        self.reports.append((observed, instances_ready))
        return self.is_ours

    def reconcile(self):
        self.kicks += 1


@pytest.fixture
def stores():
    return Stores()


@pytest.fixture
def record(pulse):
    return pulse.record(0)


@pytest.fixture
def pulse(tmp_path):
    return Pulse(tmp_path / "pulse")


@pytest.fixture
def codes():
    return []


@pytest.fixture
def watch(stores, pulse, codes, monkeypatch):
    """A supervisor that ticks when it is told to, and renews at every tick."""
    settings = Settings(
        process=ProcessSettings(service_id="s", replica_id="r", replica_generation=1),
        workers=WorkersSettings(renew_s=0),
        serving=ServingSettings(load_attempts=3),
        redis_url="redis://127.0.0.1:1/0",
    )
    core = SimpleNamespace(
        settings=settings,
        jobs=SimpleNamespace(store=stores, hot=None, bell=None, directory=None),
        serving=SimpleNamespace(replicas=stores, instances=stores, kick=stores),
    )
    return Supervisor(core, pulse, slots=1, stop=codes.append)


@pytest.fixture
def child():
    """A process that only sleeps, to be killed by whoever wants to."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def put(record, pid, phase, *, limit_s=60.0, instance="i" * 32):
    record.set(Field.PID, pid)
    record.set(Field.GENERATION, 7)
    record.instance_id = instance
    record.enter(phase, deadline=monotonic_s() + limit_s if limit_s else 0.0)


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
    watch._records.append(pulse.record(1))
    watch._seen.append(None)
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
    watch._records.append(pulse.record(1))
    watch._seen.append(None)
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
