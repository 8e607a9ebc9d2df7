"""What is kept of the answers to equal inputs, and the port behind which it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.access.model import Scope
from inference.jobs.model import Claimant, Outcome
from inference.serving.model import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long answers are kept, and whether their inputs are kept with them."""

    ttl_s: float
    has_inputs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer that was kept."""

    body: bytes
    model_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a service's cache holds and did. `misses`: runs that made what is there now, or made it anew.

    `coalesced`: tasks that waited and shared one of these runs. `former`: entries of other versions of the model.
    """

    entries: int
    size_bytes: int
    hits: int
    misses: int
    coalesced: int
    former: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Warming:
    """An input to be run again, by the version that the service has now."""

    payload: bytes
    bucket: str
    rows: int


class ResultCache(Protocol):
    """What is kept of answers, beside the transactions that make and use them. Raises StoreUnavailable."""

    def find(self, service: Service, input_key: str, *, key_id: str | None, rows: int, now_s: float) -> Kept | None:
        """What answers a prediction with this input now, if anything; counts as used, by this key."""
        ...

    def flush(self) -> None:
        """Writes what was counted by `find` and not written yet. Never raises for a database that is away."""
        ...

    def put(self, by: Claimant, outcomes: Sequence[Outcome], keep: Keep) -> None:
        """Keeps the answers of predictions."""
        ...

    def used(self, scope: Scope, service_id: str) -> Used:
        """Figures of a service that is known to lie in the scope."""
        ...

    def clear(self, scope: Scope, service_id: str) -> int:
        """Forgets all that is kept of a service that is known to lie in the scope; how much. Raises ServiceNotFound."""
        ...

    def owners(self) -> Sequence[Service]:
        """The services of which anything is kept, of any tenant."""
        ...

    def trim(self, service: Service, *, limit: int) -> int:
        """Removes what was used least lately, down to the service's limit of bytes; how many, at most `limit`."""
        ...

    def forget(self, service: Service, *, limit: int) -> int:
        """Removes what is over, and what a former version made, an hour after its last use; how many, as above."""
        ...

    def forget_orphans(self) -> int:
        """Removes what services left that are gone; how many."""
        ...

    def warmings(self, service: Service) -> Sequence[Warming] | None:
        """The inputs of former versions that were used most, each told once; None until the new one has taken over."""
        ...
