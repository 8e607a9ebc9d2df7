"""Who leaves a worker that shrinks, and what its pool is asked to do about it, tick by tick."""

import pytest

from tests.unit.workers.pulses import put
from workers.pulse import Field, Phase, Pulse
from workers.resize import SURPLUS, Sizing, surplus


@pytest.mark.parametrize(
    ("phases", "leaving", "wanted", "expected"),
    [
        ({0: Phase.RUNNING, 1: Phase.RUNNING, 2: Phase.RUNNING}, (), 1, [2, 1]),
        ({0: Phase.IDLE, 1: Phase.RUNNING, 2: Phase.RUNNING}, (), 2, [0]),
        ({0: Phase.IDLE, 1: Phase.LOADING, 2: Phase.RUNNING}, (), 1, [1, 0]),
        ({0: Phase.RUNNING, 1: Phase.RUNNING, 2: Phase.IDLE}, (2,), 1, [1]),
        ({0: Phase.RUNNING}, (), 1, []),
        ({0: Phase.RUNNING}, (), 3, []),
        ({}, (), 2, []),
    ],
)
def test_who_has_the_least_in_hand_leaves_first(phases, leaving, wanted, expected):
    assert surplus(phases, leaving=leaving, wanted=wanted) == expected


class Pool:
    def __init__(self):
        self.calls = []

    def __call__(self, wanted, *, leaving, rested):
        self.calls.append((wanted, sorted(leaving), sorted(rested)))


@pytest.fixture
def pulse(tmp_path):
    return Pulse(tmp_path / "pulse")


def test_a_busy_child_is_asked_at_every_tick_and_ended_only_when_it_holds_nothing(pulse):
    records = {index: pulse.record(index) for index in range(2)}
    for index, record in records.items():
        put(record, 100 + index, Phase.RUNNING)
    sizing, pool = Sizing(pulse, 2), Pool()
    pulse.wanted = 1

    for _ in range(2):
        sizing.tick(records, fit=pool)
    records[1].enter(Phase.RESTED)
    sizing.tick(records, fit=pool)
    sizing.tick({0: records[0]}, fit=pool)

    assert pool.calls == [(1, [101], []), (1, [101], []), (1, [101], [101])]
    assert [record.get(Field.IS_STOPPING) for record in records.values()] == [0, SURPLUS]


def test_a_worker_of_the_right_size_asks_its_pool_for_nothing(pulse):
    put(pulse.record(0), 100, Phase.IDLE)
    sizing, pool = Sizing(pulse, 1), Pool()

    sizing.tick({0: pulse.record(0)}, fit=pool)

    assert pool.calls == []


def test_a_worker_that_grows_asks_until_the_children_are_there(pulse):
    put(pulse.record(0), 100, Phase.RUNNING)
    sizing, pool = Sizing(pulse, 1), Pool()
    pulse.wanted = 3

    for _ in range(2):
        sizing.tick({0: pulse.record(0)}, fit=pool)

    assert pool.calls == [(3, [], []), (3, [], [])]
    assert sizing.wanted == 3
