"""Where a schedule's decisions come from: dice, or every way there is."""

import random
from collections.abc import Iterator


class Dice:
    """Decisions by a seed: the same seed, the same schedule."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def pick(self, n: int) -> int:
        """One of 0 to n - 1."""
        return int(self._random() * n)


class Path:
    """Decisions that follow `prefix`, and then always the first possibility; notes how many there were."""

    def __init__(self, prefix: list[int]) -> None:
        self._prefix = prefix
        self.taken: list[tuple[int, int]] = []

    def pick(self, n: int) -> int:
        at = len(self.taken)
        choice = self._prefix[at] if at < len(self._prefix) else 0
        self.taken.append((choice, n))
        return choice


def every_path() -> Iterator[Path]:
    """All paths of a program that decides by `pick` alone: each is run to its end before the next is asked for."""
    prefix: list[int] | None = []
    while prefix is not None:
        path = Path(prefix)
        yield path
        prefix = _next(path.taken)


def _next(taken: list[tuple[int, int]]) -> list[int] | None:
    for at in range(len(taken) - 1, -1, -1):
        choice, n = taken[at]
        if choice + 1 < n:
            return [*(before for before, _ in taken[:at]), choice + 1]
    return None
