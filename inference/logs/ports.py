"""What the room of logs needs from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.access.model import Scope
from inference.logs.model import Entry, Group, Question, Row
from inference.settings import LogsSettings


class LogStore(Protocol):
    """Entries in SQL. Every call raises StoreUnavailable."""

    def put(self, rows: Sequence[Row]) -> None:
        """All in one transaction; those that are there already stay as they are."""
        ...

    def find(self, asked: Question) -> Sequence[Entry]:
        """By id, the highest first."""
        ...

    def counts(self, asked: Question, *, step_s: int) -> Sequence[tuple[int, int, int]]:
        """(which step since 1970, level, how many), for steps in which there were any."""
        ...

    def top(self, asked: Question, *, limit: int) -> Sequence[tuple[str, int]]:
        """The most frequent events."""
        ...

    def groups(self, asked: Question, *, limit: int) -> Sequence[Group]:
        """Warnings and worse, by what they tell of, the most frequent first."""
        ...

    def forget(self, *, keep_s: float, keep_rows: int, limit: int) -> int:
        """Deletes at most `limit` of the oldest beyond these bounds; how many."""
        ...


class Deploys(Protocol):
    """When a service changed its version or its state."""

    def deployed_at(self, scope: Scope, service_id: str) -> float | None:
        """The last time that it was deployed; None when it never was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsPorts:
    """What those who read and keep logs are given."""

    store: LogStore
    deploys: Deploys
    settings: LogsSettings
