"""What to do after an attempt went wrong. Pure, but for the dice that the caller throws."""

from dataclasses import dataclass

from inference.errors import PenstockError
from inference.jobs.model import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """`delay_s`: how long a job that goes back to the queue is kept out of it."""

    state: JobState
    delay_s: float = 0.0


def after_error(
    error: PenstockError, *, attempt: int, max_attempts: int, dice: float, base_s: float = 0.5, cap_s: float = 60.0
) -> Next:
    """FAILED for an error that would come again, PENDING for one that may not, DEAD when the budget is used up.

    `attempt`: the one that failed, from 1. `dice`: uniform in 0 to 1. The delay is exponential with full jitter:
    dice * min(cap, base * 2**(attempt - 1)). Source: the "full jitter" rule of the AWS architecture blog's
    "Exponential backoff and jitter".
    """
    if not error.retryable:
        return Next(state=JobState.FAILED)
    if attempt >= max_attempts:
        return Next(state=JobState.DEAD)
    return Next(state=JobState.PENDING, delay_s=dice * min(cap_s, base_s * 2 ** (attempt - 1)))
