"""Retries and the suspects of a crash."""

import pytest

from inference.errors import EngineFailed, OutOfMemory
from inference.jobs.model import MOVES, JobState
from inference.jobs.retry import after_error
from inference.jobs.suspect import judge


@pytest.mark.parametrize(
    ("error", "attempt", "state", "delay_s"),
    [
        (EngineFailed("no"), 1, JobState.FAILED, 0),
        (OutOfMemory("no"), 1, JobState.PENDING, 0.5),
        (OutOfMemory("no"), 2, JobState.PENDING, 1.0),
        (OutOfMemory("no"), 3, JobState.DEAD, 0),
        (OutOfMemory("no"), 9, JobState.DEAD, 0),
    ],
)
def test_only_errors_that_may_pass_are_tried_again(error, attempt, state, delay_s):
    following = after_error(error, attempt=attempt, max_attempts=3, dice=1.0, base_s=0.5)

    assert (following.state, following.delay_s) == (state, delay_s)


def test_the_delay_is_jittered_between_nothing_and_its_cap():
    error = OutOfMemory("no")

    delays = [after_error(error, attempt=40, max_attempts=99, dice=d, cap_s=60).delay_s for d in (0.0, 0.5, 1.0)]

    assert delays == [0, 30, 60]


@pytest.mark.parametrize(
    ("attempt", "is_started", "mates", "batch_cap", "state", "cap", "is_charged"),
    [
        (1, True, 32, 0, JobState.PENDING, 16, True),
        (2, True, 16, 16, JobState.PENDING, 1, True),
        (3, True, 1, 1, JobState.DEAD, 1, True),
        (1, False, 32, 0, JobState.PENDING, 16, False),
        (3, False, 8, 0, JobState.PENDING, 1, False),
        (1, True, 1, 0, JobState.PENDING, 1, True),
    ],
)
def test_suspects_run_in_halves_and_then_alone(attempt, is_started, mates, batch_cap, state, cap, is_charged):
    verdict = judge(attempt=attempt, max_attempts=3, is_started=is_started, mates=mates, batch_cap=batch_cap)

    assert (verdict.state, verdict.batch_cap, verdict.is_charged) == (state, cap, is_charged)


def test_innocent_mates_of_a_poison_job_always_get_an_attempt_without_it():
    for most in (2, 3, 4, 5):
        attempt, cap = 1, 0
        verdict = judge(attempt=1, max_attempts=most, is_started=True, mates=64, batch_cap=0)
        while verdict.state is JobState.PENDING and verdict.batch_cap > 1:
            attempt, cap = attempt + 1, verdict.batch_cap
            verdict = judge(attempt=attempt, max_attempts=most, is_started=True, mates=cap, batch_cap=cap)

        assert verdict.state is JobState.PENDING
        assert verdict.batch_cap == 1


def test_final_states_have_no_way_out():
    assert {state for state, moves in MOVES.items() if not moves} == {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.DEAD,
        JobState.CANCELLED,
        JobState.EXPIRED,
    }
