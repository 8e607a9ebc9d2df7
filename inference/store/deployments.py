"""Records of what was deployed where."""

import json
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import DeploymentNotFound
from inference.serving.model import Deployment
from inference.store import auditing
from inference.store.database import Database
from inference.store.scoped import rows_in
from inference.store.tables import deployments


class SqlDeployments:
    """The `DeploymentStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def insert(self, deployment: Deployment) -> None:
        values = {column.name: getattr(deployment, column.name) for column in deployments.columns}
        with self._db.write() as connection:
            connection.execute(sa.insert(deployments).values(**{**values, "config": json.dumps(deployment.config)}))
            auditing.note(
                self._db,
                connection,
                action="deployment.create",
                kind="deployment",
                object_id=deployment.id,
                tenant_id=deployment.tenant_id,
                after={name: values[name] for name in ("model_id", "service_id", "environment")},
            )

    def get(self, scope: Scope, deployment_id: str) -> Deployment:
        where = (deployments.c.id == deployment_id) & rows_in(scope, deployments)
        with self._db.read() as connection:
            row = connection.execute(sa.select(deployments).where(where)).one_or_none()
        if row is None:
            raise DeploymentNotFound(f"There is no deployment {deployment_id}.", deployment_id=deployment_id)
        return _deployment(row)

    def list(
        self, scope: Scope, *, model_id: str | None = None, limit: int = 100, before_id: str | None = None
    ) -> "list[Deployment]":
        query = sa.select(deployments).where(rows_in(scope, deployments))
        if model_id is not None:
            query = query.where(deployments.c.model_id == model_id)
        if before_id is not None:
            query = query.where(deployments.c.id < before_id)
        with self._db.read() as connection:
            return [
                _deployment(row) for row in connection.execute(query.order_by(deployments.c.id.desc()).limit(limit))
            ]


def _deployment(row: "sa.Row[Any]") -> Deployment:
    return Deployment(**{**row._mapping, "config": json.loads(row.config)})
