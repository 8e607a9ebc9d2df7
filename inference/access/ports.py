"""What the access room needs from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from inference.access.model import ApiKey, AuditRecord, Limits, Scope, Tenant
from inference.settings import AccessSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """A key as a process must know it to check it. `digests`: those that open it now, each until its time (or None)."""

    key: ApiKey
    digests: tuple[tuple[bytes, float | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What changed since an epoch. `now`: the database's time, epoch seconds."""

    epoch: int
    now: float
    keys: tuple[KeyChange, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    is_closed: bool = False


class KeyStore(Protocol):
    """Rows of keys. Every change is audited, and gives the row a new epoch that all processes see.

    `within` is the caller's own scope: a key outside it does not exist. Raises StoreUnavailable.
    """

    def insert(self, key: ApiKey, digest: bytes, *, only_first: bool = False) -> bool:
        """Whether it was inserted: with `only_first` it is not once any person's key was ever made."""
        ...

    def get(self, within: Scope, key_id: str) -> ApiKey:
        """Raises KeyNotFound."""
        ...

    def list(self, within: Scope, *, limit: int, before: tuple[float, str] | None = None) -> Sequence[ApiKey]:
        """Newest first; `before` is (created_at, id) of the last one seen."""
        ...

    def change(self, within: Scope, key_id: str, *, name: str | None = None, limits: Limits | None = None) -> ApiKey:
        """Raises KeyNotFound."""
        ...

    def rotate(self, within: Scope, key_id: str, digest: bytes, *, overlap_s: float) -> ApiKey:
        """The new secret opens it from now on, the one before it for `overlap_s` more; an older one no longer.

        Raises KeyNotFound, and WrongState for a key that was revoked or has expired.
        """
        ...

    def revoke(self, within: Scope, key_id: str) -> ApiKey:
        """Revoking twice is no error. Raises KeyNotFound."""
        ...

    def changes(self, since: int) -> Changes | None:
        """None when nothing has changed since that epoch; 0 asks for everything. One short read."""
        ...


class TenantStore(Protocol):
    """Rows of tenants; for holders of system keys."""

    def insert(self, tenant: Tenant) -> None:
        """Raises NameExists, also for the id of a tenant that had keys and was deleted."""
        ...

    def get(self, tenant_id: str) -> Tenant:
        """Raises TenantNotFound."""
        ...

    def list(self, *, limit: int, after_id: str | None = None) -> Sequence[Tenant]:
        """By id."""
        ...

    def change(
        self, tenant_id: str, *, name: str | None = None, limits: Limits | None = None, is_disabled: bool | None = None
    ) -> Tenant:
        """Raises TenantNotFound."""
        ...

    def delete(self, tenant_id: str) -> None:
        """Its keys go with it. Raises TenantNotFound, and InUse while it has services, models or jobs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """`tenant_id` None: of every tenant. Times are epoch seconds, `from` included and `to` not."""

    tenant_id: str | None
    action: str | None = None
    actor_id: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    at_from: float | None = None
    at_to: float | None = None
    before_seq: int | None = None
    after_seq: int | None = None
    limit: int = 100


class AuditStore(Protocol):
    """Reads the audit record. It is written by the store itself, in the transaction of each change."""

    def find(self, which: AuditFilter) -> Sequence[AuditRecord]:
        """Newest first; oldest first when `after_seq` is given."""
        ...

    def head(self) -> tuple[int, str]:
        """Sequence number and hash that the last append left; (0, "") before the first."""
        ...


class SharedCounts(Protocol):
    """Counters that several processes share, best effort: Redis. Raises HotUnavailable when they are away."""

    def add(self, counts: "dict[str, int]", *, keep_s: float) -> "dict[str, int]":
        """Adds and gives each counter's new value; a counter is gone `keep_s` after its last addition. One trip."""
        ...

    def has(self, name: str) -> bool:
        """Whether something was added to this counter that is not gone yet."""
        ...

    def strike(self, name: str, *, window_s: float) -> tuple[int, float]:
        """Adds one to a counter that starts anew `window_s` after its first; its value and the seconds left."""
        ...


class UsageGroup(StrEnum):
    KEY = "key"
    SERVICE = "service"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """`group`: the id of a key ("" for no key) or service, or the number of the day since 1970."""

    group: str
    jobs: int
    rows: int
    engine_s: float


class UsageStore(Protocol):
    """What a tenant has used: all of it under None and, with `by_key`, each key's part. Raises StoreUnavailable."""

    def engine_s(self, tenant_id: str, by_key: bool, *, day: int) -> Mapping[str | None, float]:
        """Engine-seconds of attempts that ended on that day (UTC, days since 1970)."""
        ...

    def bytes_stored(self, tenant_id: str, by_key: bool) -> Mapping[str | None, int]:
        """Uploads, models, payloads and results together. Dear: it looks at every job."""
        ...

    def find(self, scope: Scope, *, day_from: int, day_to: int, group_by: UsageGroup) -> Sequence[Used]:
        """Sums over the days from `day_from` to before `day_to`, by group."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPorts:
    keys: KeyStore
    tenants: TenantStore
    audit: AuditStore
    counts: SharedCounts
    usage: UsageStore
    settings: AccessSettings
