"""Where a claim begins to look: at the very head of a queue, or past what PostgreSQL still has to throw away there.

A job that was claimed leaves a dead entry in the index until a vacuum comes, which is once a minute, or when the
longest reader has gone. Each claim would walk over all of them, 50 ms for a million and more while somebody reads. So
once such walks are slow, a claim begins at the key that the last one found first, and only now and then at the very
head.
"""

import math

SLOW_S = 0.004
SLOW_LOOKS = 2
GAIN = 2.0
LOOKS_IN_VAIN = 3
PAUSE = 5.0
PAUSE_LIMIT_S = 2.0
DISTRUST_S = 1.0
VERY_HEAD = -math.inf


class Head:
    """Of one queue, as one process knows it. Times are monotonic. Pure.

    A job that comes in before the key waits for the next look at the very head: five times as long as such a look
    takes, and never more than 2 s. Where looks are quick, every one begins there.
    """

    def __init__(self) -> None:
        self._key = VERY_HEAD
        self._until_s = self._trusted_from_s = VERY_HEAD
        self._took_s = 0.0
        self._slow_looks = self._looks_in_vain = 0

    def begin(self, now_s: float) -> float:
        """The key to look from; VERY_HEAD for all of the queue."""
        return self._key if now_s < self._until_s else VERY_HEAD

    def looked(self, began: float, *, first: float | None, took_s: float, now_s: float) -> None:
        """What a look found first, None for nothing, and how long it took."""
        if first is None:
            self._until_s = VERY_HEAD
        elif began == VERY_HEAD:
            self._looked_at_all(first, took_s, now_s)
        else:
            self._key = first
            self._looks_in_vain = self._looks_in_vain + 1 if took_s * GAIN > self._took_s else 0
            if self._looks_in_vain >= LOOKS_IN_VAIN:  # it is the machine that is slow
                self._until_s, self._trusted_from_s = VERY_HEAD, now_s + DISTRUST_S
                self._slow_looks = 0

    def _looked_at_all(self, first: float, took_s: float, now_s: float) -> None:
        self._slow_looks = self._slow_looks + 1 if took_s >= SLOW_S else 0
        if self._slow_looks >= SLOW_LOOKS and now_s >= self._trusted_from_s:
            self._key, self._took_s, self._looks_in_vain = first, took_s, 0
            self._until_s = now_s + min(PAUSE * took_s, PAUSE_LIMIT_S)
