"""Objects made of rows, kept while their rows stay the same: at rest nearly all of a second ago are those of now."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

T = TypeVar("T")


class Unchanged(Generic[T]):
    """Remembers what `make` gave for the rows of the last call, and for no others. Thread-safe.

    For objects that nobody changes; of rows that are all different.
    """

    def __init__(self, make: "Callable[[sa.Row[Any]], T]") -> None:
        self._make = make
        self._kept: dict[sa.Row[Any], T] = {}

    def of(self, rows: "Iterable[sa.Row[Any]]") -> list[T]:
        """An object for each row, in their order."""
        before, make = self._kept, self._make
        kept = {row: before[row] if row in before else make(row) for row in rows}
        self._kept = kept
        return list(kept.values())
