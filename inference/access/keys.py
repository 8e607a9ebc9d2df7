"""Make, find, rotate and revoke keys. A key's text is given back once and kept nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from inference.access import checks, token
from inference.access.model import NO_LIMITS, ApiKey, Limits, Principal, Reach, Role, Scope
from inference.access.ports import AccessPorts
from inference.clock import epoch_s
from inference.errors import (
    InvalidField,
    KeyNotFound,
    RoleTooLow,
    ScopeTooNarrow,
    ServiceNotFound,
    TenantNotFound,
    WrongState,
)
from inference.ids import DEFAULT_TENANT

MAX_NAME = checks.MAX_NAME
MAX_OVERLAP_S = 30 * 86_400.0
NO_SERVICE = "0" * 32
"""An id that no service has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A key with its text, on its way to the one who asked for it."""

    key: ApiKey
    text: str = field(repr=False)


def create(
    ports: AccessPorts,
    *,
    by: Principal,
    name: str,
    role: Role,
    scope: Scope,
    is_system: bool = False,
    is_for_service: bool = False,
    expires_at: float | None = None,
    limits: Limits = NO_LIMITS,
) -> Shown:
    """The committed key. It opens on every process within a second.

    Nobody hands out more than they have: raises RoleTooLow for a higher role, ScopeTooNarrow for a wider scope (only
    holders of system keys make keys of other tenants) or wider limits. Raises InvalidField, TenantNotFound.
    """
    _check(by, role=role, scope=scope, is_system=is_system)
    checks.name(name)
    limits = _within(by, checks.limits(limits))
    if scope.workspace is not None:
        checks.workspace(scope.workspace)
    if is_system and not scope.is_whole_tenant:
        raise InvalidField("A key of the system covers no less than its tenant.", field="is_system")
    if expires_at is not None and expires_at <= epoch_s():
        raise InvalidField("expires_at has passed already.", field="expires_at")
    ports.tenants.get(scope.tenant_id)
    made = token.make()
    key = ApiKey(
        id=made.id,
        name=name,
        role=role,
        scope=scope,
        is_system=is_system,
        is_for_service=is_for_service,
        limits=limits,
        created_at=epoch_s(),
        created_by=by.key_id or by.name,
        expires_at=expires_at,
    )
    ports.keys.insert(key, made.digest)
    return Shown(key=key, text=made.text)


def _check(by: Principal, *, role: Role, scope: Scope, is_system: bool) -> None:
    if not by.role.includes(role):
        raise RoleTooLow(
            f"The role {by.role.value} cannot make a key with the role {role.value}.",
            role=by.role.value,
            needed=role.value,
        )
    inside = by.reach is Reach.SYSTEM or (
        not is_system
        and scope.tenant_id == by.scope.tenant_id
        and by.scope.workspace in (None, scope.workspace)
        and by.scope.service_id in (None, scope.service_id)
    )
    if not inside:
        raise ScopeTooNarrow(
            "A key cannot cover more than the key that makes it.", reach=by.reach.name.lower(), needed="system"
        )


def _within(by: Principal, limits: Limits) -> Limits:
    """The limits of a key as its maker wants them; what is left open is as the maker's own. Who covers the whole tenant
    rules over the limits of its keys. Raises ScopeTooNarrow.
    """
    if by.reach >= Reach.TENANT:
        return limits
    found: dict[str, float | None] = {"weight": min(limits.weight, by.limits.weight)}
    for name in ("requests_per_s", "jobs_waiting", "bytes_stored", "gpu_seconds_per_day"):
        own, wanted = getattr(by.limits, name), getattr(limits, name)
        if own is not None and wanted is not None and wanted > own:
            raise ScopeTooNarrow(
                f"limits.{name} cannot be above {own:g}, that of the key that sets it.",
                reach=by.reach.name.lower(),
                needed=Reach.TENANT.name.lower(),
            )
        found[name] = own if wanted is None else wanted
    return replace(limits, **found)  # type: ignore[arg-type]  # each with its own type, from a Limits


def narrowed(by: Principal, *, tenant_id: str | None, workspace: str | None, service_id: str | None) -> Scope:
    """The scope of a new key as its maker wants it; what is left open is as wide as the maker's own.

    Raises TenantNotFound for another tenant than the maker's, unless that is a system key; ServiceNotFound for
    another service than the maker's, if that is one. Whether the service exists is asked by whoever knows services.
    """
    own = by.scope
    if tenant_id not in (None, own.tenant_id):
        if by.reach is not Reach.SYSTEM:
            raise TenantNotFound(f"There is no tenant '{tenant_id[:64]}'.", tenant_id=tenant_id[:64])
        return Scope(checks.known_tenant_id(tenant_id), workspace, service_id)
    if own.service_id is not None and service_id not in (None, own.service_id):
        raise ServiceNotFound(f"There is no service `{service_id}`.", id=service_id)
    return Scope(own.tenant_id, workspace or own.workspace, service_id or own.service_id)


def find(
    ports: AccessPorts, *, by: Principal, limit: int = 100, before: tuple[float, str] | None = None
) -> Sequence[ApiKey]:
    """The caller's tenant's keys (those within its scope), newest first; `before` is the cursor."""
    return ports.keys.list(by.scope, limit=limit, before=before)


def get(ports: AccessPorts, *, by: Principal, key_id: str) -> ApiKey:
    """Raises KeyNotFound."""
    return ports.keys.get(by.scope, key_id)


def rotate(ports: AccessPorts, *, by: Principal, key_id: str, overlap_s: float) -> Shown:
    """The key with a new secret; the one before it opens for `overlap_s` more.

    Raises KeyNotFound, WrongState, InvalidField, RoleTooLow for a key that may more than the caller.
    """
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        raise InvalidField(f"overlap_s must be 0 to {MAX_OVERLAP_S:.0f} seconds.", field="overlap_s")
    key = ports.keys.get(by.scope, key_id)
    _check(by, role=key.role, scope=key.scope, is_system=key.is_system)
    made = token.make(key_id)
    return Shown(key=ports.keys.rotate(by.scope, key_id, made.digest, overlap_s=overlap_s), text=made.text)


def revoke(ports: AccessPorts, *, by: Principal, key_id: str) -> ApiKey:
    """The key, which opens nothing within a second. Revoking twice is no error.

    Raises KeyNotFound, RoleTooLow for a key that may more than the caller.
    """
    key = ports.keys.get(by.scope, key_id)
    _check(by, role=key.role, scope=key.scope, is_system=key.is_system)
    return ports.keys.revoke(by.scope, key_id)


def change(
    ports: AccessPorts, *, by: Principal, key_id: str, name: str | None = None, limits: Limits | None = None
) -> ApiKey:
    """The key with another name or other limits. Raises KeyNotFound, InvalidField, RoleTooLow, ScopeTooNarrow."""
    if name is not None:
        checks.name(name)
    if limits is not None:
        limits = _within(by, checks.limits(limits))
    key = ports.keys.get(by.scope, key_id)
    _check(by, role=key.role, scope=key.scope, is_system=key.is_system)
    return ports.keys.change(by.scope, key_id, name=name, limits=limits)


def first(ports: AccessPorts, *, text: str | None = None) -> Shown | None:
    """The system's first key, an admin's, unless a person's key was ever made; `text` when it was chosen beforehand.

    Any number of processes may call it at once: one makes the key, the others get None. Raises InvalidField for a
    text that is no key.
    """
    made = token.make() if text is None else token.of(text)
    key = ApiKey(
        id=made.id,
        name="first admin",
        role=Role.ADMIN,
        scope=Scope(DEFAULT_TENANT),
        is_system=True,
        created_at=epoch_s(),
        created_by="first start",
    )
    return Shown(key=key, text=made.text) if ports.keys.insert(key, made.digest, only_first=True) else None


def metrics(ports: AccessPorts, *, text: str) -> bool:
    """Whether the key by which figures are read was made now; it is there already otherwise.

    It sees all that is measured, no service and no task, and may change nothing. Raises InvalidField for a text that
    is no key, and WrongState for one that was revoked.
    """
    made = token.of(text)
    key = ApiKey(
        id=made.id,
        name="metrics",
        role=Role.VIEWER,
        scope=Scope(DEFAULT_TENANT, service_id=NO_SERVICE),
        is_system=True,
        is_for_service=True,
        created_at=epoch_s(),
        created_by="first start",
    )
    try:
        known = ports.keys.get(Scope(DEFAULT_TENANT), made.id)
    except KeyNotFound:
        return ports.keys.insert(key, made.digest)
    if known.revoked_at is not None:
        raise WrongState(f"The metrics key {made.id} was revoked; choose another.", state="revoked", allowed=[])
    return False
