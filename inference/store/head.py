"""Where a claim begins to look: at the very head of a queue, or past what PostgreSQL still has to throw away there.

A job that was claimed leaves a dead entry in the index until a vacuum comes, which is once a minute, or when the
longest reader has gone. Each claim would walk over all of them, 50 ms for a million and more while somebody reads. So
once there are many, and the walk is slow, a claim begins at the key that the last one found first, and only now and
then at the very head.
"""

import math

MANY = 20_000
SLOW_S = 0.002
PAUSE = 20.0
PAUSE_LIMIT_S = 2.0
VERY_HEAD = -math.inf


class Head:
    """Of one queue, as one process knows it. Times are monotonic. Pure.

    A job that comes in before the key waits for the next look at the very head: 20 times as long as such a look takes,
    and never more than 2 s. While dead rows are few, or looks are quick, every one begins there.
    """

    def __init__(self) -> None:
        self._key = self._until_s = VERY_HEAD

    def begin(self, now_s: float) -> float:
        """The key to look from; VERY_HEAD for all of the queue."""
        return self._key if now_s < self._until_s else VERY_HEAD

    def looked(self, began: float, *, first: float | None, dead: int, took_s: float, now_s: float) -> None:
        """What a look found first, None for nothing, how long it took, and the table's dead rows."""
        if first is None or dead < MANY:
            self._until_s = VERY_HEAD
        elif began != VERY_HEAD:
            self._key = first
        elif took_s >= SLOW_S:
            self._key, self._until_s = first, now_s + min(PAUSE * took_s, PAUSE_LIMIT_S)
