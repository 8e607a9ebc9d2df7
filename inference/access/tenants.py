"""Make, find, change and remove tenants: the installation's own acts, for holders of system keys."""

from collections.abc import Sequence

from inference.access import checks
from inference.access.model import NO_LIMITS, Limits, Principal, Tenant
from inference.access.ports import AccessPorts
from inference.clock import epoch_s
from inference.errors import WrongState
from inference.ids import DEFAULT_TENANT


def create(ports: AccessPorts, *, tenant_id: str, name: str | None = None, limits: Limits = NO_LIMITS) -> Tenant:
    """The committed tenant, called after its id without a name. Raises InvalidField, NameExists."""
    tenant = Tenant(
        id=checks.new_tenant_id(tenant_id),
        name=checks.name(tenant_id if name is None else name),
        created_at=epoch_s(),
        limits=checks.limits(limits),
    )
    ports.tenants.insert(tenant)
    return tenant


def find(ports: AccessPorts, *, limit: int = 100, after_id: str | None = None) -> Sequence[Tenant]:
    """By id; `after_id` is the cursor."""
    return ports.tenants.list(limit=limit, after_id=after_id)


def get(ports: AccessPorts, *, tenant_id: str) -> Tenant:
    """Raises TenantNotFound."""
    return ports.tenants.get(checks.known_tenant_id(tenant_id))


def change(
    ports: AccessPorts,
    *,
    by: Principal,
    tenant_id: str,
    name: str | None = None,
    limits: Limits | None = None,
    is_disabled: bool | None = None,
) -> Tenant:
    """The tenant as it is now; a disabled one's keys open nothing within a second.

    Raises TenantNotFound, InvalidField, and WrongState for disabling the tenant that the caller's own key is of.
    """
    if name is not None:
        checks.name(name)
    if limits is not None:
        checks.limits(limits)
    checks.known_tenant_id(tenant_id)
    if is_disabled:
        _refuse_own(by, tenant_id, "disabled")
    return ports.tenants.change(tenant_id, name=name, limits=limits, is_disabled=is_disabled)


def delete(ports: AccessPorts, *, by: Principal, tenant_id: str) -> None:
    """Its keys open nothing within a second. Raises TenantNotFound, WrongState, and InUse while it has data."""
    _refuse_own(by, checks.known_tenant_id(tenant_id), "deleted")
    ports.tenants.delete(tenant_id)


def _refuse_own(by: Principal, tenant_id: str, verb: str) -> None:
    """Nobody locks themselves out, nor the installation: keys of the system are the default tenant's."""
    if tenant_id in (DEFAULT_TENANT, by.scope.tenant_id):
        raise WrongState(
            f"The tenant {tenant_id} cannot be {verb}: the keys of the system, or your own, belong to it.",
            state="in use",
            allowed=[],
        )
