"""Who acts in the tests of the audit record, what they act on, and a look at what was written."""

import dataclasses

from inference.access.model import Actor, AuditRecord, Scope
from inference.access.ports import AuditFilter
from inference.ids import DEFAULT_TENANT, new_id
from inference.serving.model import Service
from inference.store.audit import SqlAudit
from inference.store.database import Database
from tests.contract.serving import make_service

MINE = Scope(DEFAULT_TENANT)
WHO = Actor(
    tenant_id=DEFAULT_TENANT, kind="key", id="0b51e3c2a9d4", name="line 3", address="192.0.2.7", operation="POST /x"
)


def recorded(database: Database) -> list[AuditRecord]:
    return list(SqlAudit(database).find(AuditFilter(tenant_id=None, after_seq=0, limit=1000)))


def service_of(tenant_id: str = DEFAULT_TENANT, **changes: object) -> Service:
    return dataclasses.replace(make_service(new_id(), tenant_id=tenant_id), **changes)
