"""What a comparison reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.access.model import Scope
from inference.results.model import Ended, Span, Total


class Samples(Protocol):
    """Tasks that are over, of one service and inside the caller's scope. Raises StoreUnavailable."""

    def totals(self, scope: Scope, span: Span) -> Sequence[Total]:
        """How all of them ended."""
        ...

    def newest(self, scope: Scope, span: Span, *, limit: int) -> Sequence[Ended]:
        """The newest completed ones, newest first."""
        ...

    def digests(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, bytes]:
        """By id, what only the same input has, too; without inputs that are large, or more than some megabytes."""
        ...

    def bodies(self, scope: Scope, job_ids: Sequence[str]) -> Mapping[str, bytes]:
        """By id, the JSON of the results; without those that are large, or more than some megabytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsPorts:
    samples: Samples
