"""Who may do what: tenants, roles, scopes, keys, limits, and the record of what was done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from inference.ids import DEFAULT_TENANT


class Role(StrEnum):
    """Each may do what the one before it may."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that `other` may."""
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}


class Reach(IntEnum):
    """How much a key covers. SYSTEM: its tenant, and the installation itself (nodes, tenants, the audit chain)."""

    SERVICE = 0
    WORKSPACE = 1
    TENANT = 2
    SYSTEM = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the data that a caller sees; what is outside does not exist for it.

    Every statement on a tenant's data takes one. With `service_id` that service and its jobs alone, with `workspace`
    the services of that workspace.
    """

    tenant_id: str
    workspace: str | None = None
    service_id: str | None = None

    @property
    def is_whole_tenant(self) -> bool:
        return self.workspace is None and self.service_id is None

    def covers(self, *, tenant_id: str, workspace: str, service_id: str) -> bool:
        """Whether a service of that tenant and workspace is inside."""
        return (
            self.tenant_id == tenant_id
            and self.service_id in (None, service_id)
            and self.workspace in (None, workspace)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a tenant or a key may use; None is no limit of its own.

    `weight`: share of a service that several keys load at once, relative to the others. Of tenants alone: `replicas`
    and `gpus` (replicas that ask for one) of their services, and the `gpu_memory_bytes` that those ask for.
    """

    requests_per_s: float | None = None
    jobs_waiting: int | None = None
    bytes_stored: int | None = None
    gpu_seconds_per_day: float | None = None
    replicas: int | None = None
    gpus: int | None = None
    gpu_memory_bytes: int | None = None
    weight: float = 1.0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer. A disabled tenant's keys open nothing; its jobs run to their end."""

    id: str
    name: str
    created_at: float
    limits: Limits = NO_LIMITS
    is_disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it may be shown. `id` is the public part of its text; times are epoch seconds.

    `is_for_service`: made by the short form of service creation, not by a person; it does not close an open system.
    """

    id: str
    name: str
    role: Role
    scope: Scope
    is_system: bool = False
    is_for_service: bool = False
    limits: Limits = NO_LIMITS
    created_at: float = 0.0
    created_by: str = ""
    expires_at: float | None = None
    rotated_at: float | None = None
    previous_until: float | None = None
    revoked_at: float | None = None

    @property
    def reach(self) -> Reach:
        if self.is_system:
            return Reach.SYSTEM
        if self.scope.service_id is not None:
            return Reach.SERVICE
        return Reach.TENANT if self.scope.workspace is None else Reach.WORKSPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who makes a request: a key's holder, or, on an open system, anybody on this machine (`key_id` None)."""

    name: str
    role: Role
    scope: Scope
    reach: Reach
    key_id: str | None = None
    limits: Limits = NO_LIMITS
    tenant_limits: Limits = NO_LIMITS


ANYBODY = Principal(name="anybody on this machine", role=Role.ADMIN, scope=Scope(DEFAULT_TENANT), reach=Reach.SYSTEM)
"""Who everybody is while there are no keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something, from where, and by which call; for the audit record.

    `kind`: key, open (no keys yet), cli, or alert (the action of a rule). `id`: the key's or the rule's, or the
    user of the operating system.
    """

    tenant_id: str
    kind: str
    id: str
    name: str
    address: str
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One act that changed something. `hash` = SHA-256 over `previous_hash` and every other field."""

    seq: int
    at: float
    tenant_id: str
    actor_kind: str
    actor_id: str
    actor_name: str
    address: str
    operation: str
    action: str
    object_kind: str
    object_id: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    previous_hash: str = ""
    hash: str = ""
