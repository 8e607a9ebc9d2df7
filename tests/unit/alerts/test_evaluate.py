"""When an alert begins, fires, goes on and is over."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.alerts.availability import availability
from inference.alerts.evaluate import ABSENT_S, Move, evaluate
from inference.alerts.model import Compare, Metric, Phase, Rule, State

RULE = Rule(id="r", tenant_id="t", name="n", metric=Metric.LATENCY, threshold=0.2, resolve_threshold=0.1, for_s=60.0)
LOW = dataclasses.replace(RULE, compare=Compare.BELOW, threshold=0.5, resolve_threshold=0.6)
PENDING = State(phase=Phase.PENDING, since=100.0, value=0.3)
FIRING = State(phase=Phase.FIRING, since=100.0, value=0.3)
QUIET = dataclasses.replace(FIRING, quiet_since=200.0)


@pytest.mark.parametrize(
    ("rule", "state", "value", "now", "phase", "move"),
    [
        (RULE, None, 0.2, 100.0, None, None),  # at the threshold all is well
        (RULE, None, 0.21, 100.0, Phase.PENDING, Move.PENDING),
        (RULE, None, None, 100.0, None, None),
        (dataclasses.replace(RULE, for_s=0.0), None, 0.3, 100.0, Phase.FIRING, Move.FIRED),
        (RULE, PENDING, 0.3, 159.9, Phase.PENDING, None),
        (RULE, PENDING, 0.3, 160.0, Phase.FIRING, Move.FIRED),
        (RULE, PENDING, 0.15, 159.0, None, Move.DROPPED),
        (RULE, PENDING, None, 300.0, None, Move.DROPPED),
        (RULE, FIRING, 0.15, 300.0, Phase.FIRING, None),  # between the two thresholds
        (RULE, FIRING, 0.1, 300.0, None, Move.RESOLVED),
        (dataclasses.replace(RULE, resolve_threshold=None), FIRING, 0.2, 300.0, None, Move.RESOLVED),
        (RULE, FIRING, None, 300.0, Phase.FIRING, None),
        (RULE, QUIET, None, 200.0 + ABSENT_S - 1, Phase.FIRING, None),
        (RULE, QUIET, None, 200.0 + ABSENT_S, None, Move.RESOLVED),
        (LOW, None, 0.5, 100.0, None, None),
        (LOW, None, 0.49, 100.0, Phase.PENDING, Move.PENDING),
        (LOW, FIRING, 0.55, 300.0, Phase.FIRING, None),
        (LOW, FIRING, 0.6, 300.0, None, Move.RESOLVED),
    ],
)
def test_what_follows_from_a_value(rule, state, value, now, phase, move):
    after, moved = evaluate(rule, state, value, now)

    assert (None if after is None else after.phase, moved) == (phase, move)


def test_a_value_that_comes_back_ends_the_quiet():
    after, move = evaluate(RULE, QUIET, 0.3, 250.0)

    assert (after.quiet_since, move) == (None, None)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=200), st.floats(0, 60))
def test_it_never_fires_before_it_was_bad_for_long_enough_nor_twice_without_an_end(values, for_s):
    rule, state, bad_since, moves = dataclasses.replace(RULE, for_s=for_s), None, None, []

    for step, value in enumerate(values):
        now = step * 5.0
        is_bad = value is not None and value > rule.threshold
        bad_since = (now if bad_since is None else bad_since) if is_bad else None
        state, move = evaluate(rule, state, value, now)
        if move is Move.FIRED:
            assert bad_since is not None
            assert now - bad_since >= for_s
        if move in (Move.FIRED, Move.RESOLVED):
            moves.append(move)

    assert moves == [Move.FIRED, Move.RESOLVED] * (len(moves) // 2) + [Move.FIRED] * (len(moves) % 2)


@pytest.mark.parametrize(
    ("moves", "state", "share"),
    [
        ([], "running", 1.0),
        ([], "error", 0.0),
        ([], "stopped", None),
        ([], "deploying", None),
        ([(50.0, "running", "error")], "error", 0.5),
        ([(50.0, "running", "error"), (60.0, "error", "deploying"), (75.0, "deploying", "running")], "running", 0.75),
        ([(20.0, "stopped", "deploying"), (40.0, "deploying", "running")], "running", 1.0),
        ([(50.0, "running", "stopping"), (60.0, "stopping", "stopped")], "stopped", 1.0),
        ([(80.0, "running", "preempted")], "preempted", 1.0),
        ([(80.0, "running", "preempted"), (90.0, "preempted", "deploying")], "deploying", 1.0),
        ([], "preempted", None),
    ],
)
def test_availability_counts_the_time_that_a_service_was_meant_to_run(moves, state, share):
    found = availability(moves, state, since=0.0, now=100.0)

    assert found == (None if share is None else pytest.approx(share))
