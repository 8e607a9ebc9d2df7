"""Rows that the tests of the serving stores begin with."""

import sqlalchemy as sa

from inference.ids import new_id
from inference.serving.model import Desired, Observed, Replica, Service, ServiceConfig, ServiceState
from inference.store.database import Database


def make_service(name="one", *, tenant_id="t", state=ServiceState.PENDING, config=None) -> Service:
    return Service(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        model_id=new_id(),
        state=state,
        config=config or ServiceConfig(),
        revision=1,
        created_at=5.0,
        updated_at=5.0,
    )


def make_replica(service_id="s", ordinal=0, *, node_id="n1") -> Replica:
    return Replica(
        id=new_id(),
        service_id=service_id,
        ordinal=ordinal,
        node_id=node_id,
        device="cpu",
        desired=Desired.RUNNING,
        observed=Observed.PENDING,
        generation=0,
        revision=1,
        instances=2,
        instances_ready=0,
        load_failures=0,
        restarts=0,
    )


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
