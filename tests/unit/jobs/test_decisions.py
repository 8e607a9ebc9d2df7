"""Retries and the suspects of a crash."""

import pytest

from inference.errors import EngineFailed, OutOfMemory
from inference.jobs.model import MOVES, JobState
from inference.jobs.retry import after_error
from inference.jobs.suspect import MOST_SHARED, Verdict, judge


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
    ("attempt", "shared", "is_started", "mates", "batch_cap", "state", "cap", "is_attempt", "is_shared"),
    [
        (1, 0, True, 32, 0, JobState.PENDING, 16, True, True),
        (2, 1, True, 16, 16, JobState.PENDING, 1, True, True),
        (3, 2, True, 1, 1, JobState.PENDING, 1, True, False),
        (5, 2, True, 1, 1, JobState.DEAD, 1, True, False),
        (3, 0, True, 1, 1, JobState.DEAD, 1, True, False),
        (3, 0, True, 8, 0, JobState.PENDING, 4, True, True),
        (1, 0, False, 32, 0, JobState.PENDING, 16, False, False),
        (3, 0, False, 8, 0, JobState.PENDING, 4, False, False),
        (1, 0, True, 1, 0, JobState.PENDING, 1, True, False),
    ],
)
def test_suspects_run_in_a_half_and_then_alone(
    attempt, shared, is_started, mates, batch_cap, state, cap, is_attempt, is_shared
):
    verdict = judge(
        attempt=attempt, shared=shared, max_attempts=3, is_started=is_started, mates=mates, batch_cap=batch_cap
    )

    assert verdict == Verdict(state=state, batch_cap=cap, is_attempt=is_attempt, is_shared=is_shared)


def test_who_may_run_once_at_most_is_not_run_again_after_a_crash():
    verdict = judge(attempt=1, shared=0, max_attempts=1, is_started=True, mates=16, batch_cap=0)

    assert verdict.state is JobState.DEAD


@pytest.mark.parametrize("most", [2, 3, 4, 5])
def test_whoever_crashes_alone_has_its_whole_budget_for_that_whatever_its_mates_did(most):
    attempt, shared, mates, cap, alone = 1, 0, 64, 0, 0
    state = JobState.PENDING
    while state is JobState.PENDING:
        verdict = judge(attempt=attempt, shared=shared, max_attempts=most, is_started=True, mates=mates, batch_cap=cap)
        alone += mates == 1
        attempt, shared, mates, cap = attempt + 1, shared + verdict.is_shared, verdict.batch_cap, verdict.batch_cap
        state = verdict.state

    assert (alone, attempt - 1) == (most, most + MOST_SHARED)


def test_final_states_have_no_way_out():
    assert {state for state, moves in MOVES.items() if not moves} == {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.DEAD,
        JobState.CANCELLED,
        JobState.EXPIRED,
    }
