"""Many jobs as columns: how jobs come in, and results go out, by the hundred thousand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from inference.access.model import Scope
from inference.jobs.model import JobFilter, JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """New jobs of one service, in order, as columns of their table; a list for each that is not alike for all.

    `alike`: column -> the value that all have. `differing`: column -> a value for each job. Ids rise.
    """

    ids: Sequence[str]
    order_keys: Sequence[float]
    payloads: Sequence[bytes]
    tenant_id: str
    service_id: str
    alike: Mapping[str, Any]
    differing: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class Weighed(Protocol):
    """What fair sharing must know of a job."""

    @property
    def rows(self) -> int: ...

    @property
    def priority(self) -> int: ...


class Load(NamedTuple):
    """`Weighed`, where there is no whole `JobSpec`."""

    rows: int
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some jobs, in order. `after`: where the next page begins; None when this was the last."""

    views: Sequence[JobView]
    after: str | None


class BulkStore(Protocol):
    """The truth about jobs, for those who bring or take very many. Raises StoreUnavailable."""

    def insert(self, block: Block) -> None:
        """Commits all of the block, or nothing; in one transaction, short enough for others to have their turn.

        Raises ServiceNotFound, WrongState, DataRefused, NoRoom.
        """
        ...

    def page(self, scope: Scope, which: JobFilter, *, after: str | None, limit: int) -> Page:
        """Tasks that are over, with their results, from after that id on; at most `limit`, and some megabytes.

        `which` without its cursor and limit. A page may be empty and not the last: what does not fit the filter is
        passed over in short steps, each a snapshot of its own.
        """
        ...
