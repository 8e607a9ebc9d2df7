"""The condition that keeps a statement inside its caller's scope. Every statement on a tenant's data has one."""

from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.store.tables import services


def services_in(scope: Scope | None) -> sa.ColumnElement[bool]:
    """For statements on `services`. None: of every tenant, for the system's own acts."""
    if scope is None:
        return sa.true()
    inside = services.c.tenant_id == scope.tenant_id
    if scope.workspace is not None:
        inside &= services.c.workspace == scope.workspace
    if scope.service_id is not None:
        inside &= services.c.id == scope.service_id
    return inside


def rows_in(scope: Scope, table: sa.Table) -> sa.ColumnElement[bool]:
    """For statements on another table with `tenant_id` and `service_id`."""
    inside: sa.ColumnElement[bool] = table.c.tenant_id == scope.tenant_id
    if not scope.is_whole_tenant:
        inside &= table.c.service_id.in_(sa.select(services.c.id).where(services_in(scope)))
    return inside


def jobs_in(scope: Scope, alias: str = "jobs", *, asked_too: bool = False) -> tuple[str, dict[str, Any]]:
    """The same as text, for `jobs` under an alias: the condition and what it binds.

    `asked_too`: also what was sent to a service inside and taken by its fallback; for statements that name their jobs,
    since no index knows of it.
    """
    text, bound = f"{alias}.tenant_id = :scope_tenant", {"scope_tenant": scope.tenant_id}
    columns = ("service_id", "asked_service_id") if asked_too else ("service_id",)
    if scope.service_id is not None:
        text += f" AND ({' OR '.join(f'{alias}.{column} = :scope_service' for column in columns)})"
        bound["scope_service"] = scope.service_id
    if scope.workspace is not None:
        mine = "(SELECT id FROM services WHERE tenant_id = :scope_tenant AND workspace = :scope_workspace)"
        text += f" AND ({' OR '.join(f'{alias}.{column} IN {mine}' for column in columns)})"
        bound["scope_workspace"] = scope.workspace
    return text, bound
