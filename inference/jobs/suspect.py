"""What becomes of a job whose instance died or fell silent while it had it. Pure."""

from dataclasses import dataclass

from inference.jobs.model import JobState

MOST_SHARED = 2
"""In so many crashes a job may have had mates; from then on it runs alone, and a crash is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`batch_cap`: most jobs it may run with next time. `is_attempt`: whether it had begun, and stays on record.

    `is_shared`: whether it had mates, so that nobody knows whose fault it was: then it costs nobody's budget.
    """

    state: JobState
    batch_cap: int
    is_attempt: bool
    is_shared: bool = False


def judge(*, attempt: int, shared: int, max_attempts: int, is_started: bool, mates: int, batch_cap: int) -> Verdict:
    """A suspect runs again in a batch of half the size, and alone after the second crash that it shared.

    `attempt`: the one that just ended, counted from 1; `shared`: how many of those before were crashes with mates.
    `mates`: jobs in the batch that died, this one included. A job with a budget of one attempt asked to run once at
    most: for it every crash counts.
    A job that was claimed but not handed to the engine is not charged; it is a suspect all the same, since the
    crash may have come in the moment of its start, and suspects are never claimed ahead: it is free only once.
    """
    is_shared = is_started and mates > 1 and max_attempts > 1
    shared += is_shared
    used = attempt - shared - (not is_started)
    if used >= max_attempts:
        return Verdict(state=JobState.DEAD, batch_cap=1, is_attempt=True)
    size = min(mates, batch_cap) if batch_cap else mates
    cap = 1 if shared >= MOST_SHARED else max(1, size // 2)
    return Verdict(state=JobState.PENDING, batch_cap=cap, is_attempt=is_started, is_shared=is_shared)
