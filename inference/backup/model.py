"""Snapshots, what one holds of each kind of object, and what a restore would do with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from inference.access.model import Limits, Role
from inference.costs.model import Period, Purchase

FORMAT, FORMAT_VERSION = "penstock-backup", 1

Object: TypeAlias = Mapping[str, Any]
"""An object of the configuration, as JSON has it. `tenant_id` says whose it is, `id` names it if it has one."""

Sections: TypeAlias = Mapping[str, Sequence[Object]]


class Origin(StrEnum):
    """Who made a snapshot: a person, beat, or another system."""

    ASKED = "asked"
    SCHEDULED = "scheduled"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What a snapshot holds. `tenant_id` empty: of the whole system. `schema`: of the database it was read from."""

    made_at: str
    version: str
    schema: str
    tenant_id: str
    with_keys: bool
    sections: Sections


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A kept archive. `objects`: how many of each section. `digest`: of what it holds, equal for equal objects."""

    id: str
    tenant_id: str
    origin: Origin
    digest: str
    objects: Mapping[str, int]
    size_bytes: int = 0
    made_at: float = 0.0


class Action(StrEnum):
    """What becomes of an object. `SKIPPED`: it cannot come back, and nothing depends on that; `reason` says why."""

    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Of one field, with dots for those within others."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a restore does with one object. `id`: under which it is, or will be; that of the archive may be taken."""

    section: str
    action: Action
    id: str
    name: str
    tenant_id: str
    before: Object | None = None
    after: Object | None = None
    changes: Sequence[Change] = ()
    field: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptService:
    """What a snapshot holds of a service: whether it runs is no part of it."""

    id: str
    tenant_id: str
    name: str
    model_id: str
    config: Mapping[str, Any]
    workspace: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBudget:
    id: str
    tenant_id: str
    service_id: str
    period: Period
    of_system: bool
    soft: float | None = None
    hard: float | None = None
    low_priority: int = 4
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPrice:
    """`valid_from` 0: the price that held when the snapshot was made."""

    device_kind: str
    purchase: Purchase
    per_hour: float
    valid_from: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptKey:
    """`digest`: SHA-256 of the key's text, in hex; only where it was asked for."""

    id: str
    tenant_id: str
    name: str
    role: Role
    workspace: str | None = None
    service_id: str | None = None
    is_system: bool = False
    is_for_service: bool = False
    limits: Limits = field(default_factory=Limits)
    created_at: float = 0.0
    created_by: str = ""
    expires_at: float | None = None
    revoked_at: float | None = None
    digest: str | None = None
