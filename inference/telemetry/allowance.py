"""How often something may be logged: a few thousand entries a second would cost more than what they tell of."""

from inference.clock import monotonic_s


class Allowance:
    """`burst` at once, `per_s` for long. Not safe in several threads at once."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._left = float(burst)
        self._at = monotonic_s()
        self._unlogged = 0

    def take(self) -> bool:
        """Whether this one may be logged; else it is counted."""
        now = monotonic_s()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            self._unlogged += 1
            return False
        self._left -= 1
        return True

    def unlogged(self) -> int:
        """How many were not logged since the last call."""
        count, self._unlogged = self._unlogged, 0
        return count
