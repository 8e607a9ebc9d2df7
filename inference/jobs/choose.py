"""Which waiting jobs make the next batch. Pure: candidates in, batch out."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec


class Candidate(msgspec.Struct, frozen=True):
    """A waiting job as the claim sees it. `batch_cap`: most jobs it may run with, itself included; 0 = no limit.

    `shared_key`: of its input, where one run may do for all that have it.
    """

    id: str
    bucket: str
    rows: int
    batch_cap: int
    is_late: bool = False
    shared_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`is_full`: more of the queue was waiting behind the batch."""

    taken: tuple[Candidate, ...] = ()
    late: tuple[Candidate, ...] = ()
    is_full: bool = False


def choose(
    queue: Sequence[Candidate], *, max_rows: int, min_rows: int = 1, is_ahead: bool = False, variant: str = ""
) -> Choice:
    """The longest prefix of `queue` that may share one engine call, without what came too late.

    Never skips a job that could still run, so that no job overtakes a more urgent one; but one whose input is in the
    batch already waits for that answer, where its key begins with `variant`. A head of more than
    `max_rows` rows comes alone. Fewer than `min_rows` rows: nothing is taken. `is_ahead`: suspects are left alone.
    """
    late = tuple(job for job in queue if job.is_late)
    waiting = [job for job in queue if not job.is_late]
    if not waiting or (is_ahead and waiting[0].batch_cap):
        return Choice(late=late)
    head, taken, rows = waiting[0], [waiting[0]], waiting[0].rows
    keys, doubles = {head.shared_key}, 0
    for job in waiting[1:]:
        if variant and job.shared_key is not None and job.shared_key.startswith(variant):
            if job.shared_key in keys:
                doubles += 1
                continue
            keys.add(job.shared_key)
        fits = rows + job.rows <= max_rows and (not head.batch_cap or len(taken) < head.batch_cap)
        if not fits or (job.bucket, job.batch_cap) != (head.bucket, head.batch_cap):
            break
        taken.append(job)
        rows += job.rows
    if rows < min_rows:
        return Choice(late=late)
    # Where some wait for the answers of others, the look may have ended before what comes behind them.
    is_full = len(taken) + doubles < len(waiting) or (doubles > 0 and len(queue) > max_rows)
    return Choice(taken=tuple(taken), late=late, is_full=is_full)
