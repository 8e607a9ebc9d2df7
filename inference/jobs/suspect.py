"""What becomes of a job whose instance died or fell silent while it had it. Pure."""

from dataclasses import dataclass

from inference.jobs.model import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`batch_cap`: most jobs it may run with next time. `is_charged`: whether the attempt counts."""

    state: JobState
    batch_cap: int
    is_charged: bool


def judge(*, attempt: int, max_attempts: int, is_started: bool, mates: int, batch_cap: int) -> Verdict:
    """A suspect runs again in a batch of half the size, and alone when only one attempt is left.

    `attempt`: the one that just ended, counted from 1. `mates`: jobs in the batch that died, this one included.
    A job that was claimed but not handed to the engine is not charged; it is a suspect all the same, since the
    crash may have come in the moment of its start, and suspects are never claimed ahead: it is free only once.
    """
    used = attempt if is_started else attempt - 1
    if used >= max_attempts:
        return Verdict(state=JobState.DEAD, batch_cap=1, is_charged=True)
    size = min(mates, batch_cap) if batch_cap else mates
    cap = 1 if max_attempts - used <= 1 else max(1, size // 2)
    return Verdict(state=JobState.PENDING, batch_cap=cap, is_charged=is_started)
