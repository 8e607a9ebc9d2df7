"""Model versions in SQL."""

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from inference.access import acting
from inference.access.model import Scope
from inference.errors import InUse, ModelNotFound, VersionExists
from inference.registry.model import ModelState, ModelVersion, Signature
from inference.store import auditing, tables
from inference.store.database import Database
from inference.store.scoped import rows_in, services_in

_models = tables.models
_JSON = ("hooks", "metadata", "accuracy_metrics", "deployment_config")


class SqlModels:
    """A ModelStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, model: ModelVersion) -> None:
        """Raises VersionExists for a repeated (tenant, name, version)."""
        dialect = sqlite if self._database.is_sqlite else postgresql
        statement = (
            dialect.insert(_models)
            .values(_to_row(model))
            .on_conflict_do_nothing(index_elements=["tenant_id", "name", "version"])
            .returning(_models.c.id)
        )
        with self._database.write() as connection:
            if connection.execute(statement).first() is None:
                raise VersionExists(
                    f"Version {model.version} of model '{model.name}' exists already; choose another version.",
                    name=model.name,
                    version=model.version,
                )
            self._audit(connection, "model.register", model, None, _told(model))

    def get(self, tenant_id: str, model_id: str) -> ModelVersion:
        """Raises ModelNotFound."""
        with self._database.read() as connection:
            return _one(connection, tenant_id, model_id)

    def find(self, tenant_id: str, name: str, version: str) -> ModelVersion | None:
        wanted = sa.select(_models).where(
            _models.c.tenant_id == tenant_id, _models.c.name == name, _models.c.version == version
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else from_row(row)

    def list(
        self, tenant_id: str, *, name: str | None = None, limit: int = 100, before_id: str | None = None
    ) -> Sequence[ModelVersion]:
        """Newest first."""
        wanted = sa.select(_models).where(_models.c.tenant_id == tenant_id)
        if name is not None:
            wanted = wanted.where(_models.c.name == name)
        if before_id is not None:
            wanted = wanted.where(_models.c.id < before_id)
        with self._database.read() as connection:
            rows = connection.execute(wanted.order_by(_models.c.id.desc()).limit(limit)).all()
        return [from_row(row) for row in rows]

    def set_state(self, tenant_id: str, model_id: str, state: ModelState) -> ModelVersion:
        """Raises ModelNotFound."""
        change = sa.update(_models).where(_is(tenant_id, model_id)).values(state=state.value).returning(_models)
        with self._database.write() as connection:
            before = _one(connection, tenant_id, model_id, lock=True)
            after = from_row(connection.execute(change).one())
            self._audit(connection, _ACTIONS.get(state, "model.move"), after, _told(before), _told(after))
        return after

    def delete(self, tenant_id: str, model_id: str, *, seen_by: Scope | None = None) -> None:
        """Removes the row and its profiles. Raises ModelNotFound; InUse while a service or deployment names it."""
        scope = seen_by or Scope(tenant_id)
        users = (
            (tables.services, "service", services_in(scope)),
            (tables.deployments, "deployment", rows_in(scope, tables.deployments)),
        )
        with self._database.write() as connection:
            model = _one(connection, tenant_id, model_id, lock=True)
            for table, word, inside in users:
                using = (table.c.tenant_id == tenant_id) & (table.c.model_id == model_id)
                if connection.execute(sa.select(table.c.id).where(using).limit(1)).first() is None:
                    continue
                user = connection.execute(sa.select(table.c.id).where(using, inside).limit(1)).scalar()
                if user is None:
                    raise InUse(f"The model is in use by a {word} that this key does not see.", model_id=model_id)
                raise InUse(
                    f"The model is in use by {word} {user}; delete that first.", model_id=model_id, used_by=user
                )
            connection.execute(sa.delete(tables.profiles).where(tables.profiles.c.model_id == model_id))
            connection.execute(sa.delete(_models).where(_is(tenant_id, model_id)))
            self._audit(connection, "model.delete", model, _told(model), None)

    def blob_users(self, key: str) -> int:
        """How many rows name this blob: models, as artefact or golden pair, uploads and results; of every tenant."""
        counts = [
            sa.select(sa.func.count()).select_from(column.table).where(column == key).scalar_subquery()
            for column in _NAMING
        ]
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sum(counts[1:], start=counts[0]))).scalar_one())

    def used_blobs(self, keys: Sequence[str]) -> Set[str]:
        """Those of `keys` that any row names."""
        among = [sa.select(column).where(column.in_(keys)) for column in _NAMING]
        with self._database.read() as connection:
            return set(connection.execute(sa.union(*among)).scalars())

    def bytes_named(self) -> Mapping[str, int]:
        """By kind (models, uploads, results): the bytes that rows name."""
        sums = [
            sa.select(sa.func.coalesce(sa.func.sum(table.c.size_bytes), 0))
            .where(table.c.sha256.is_not(None))
            .scalar_subquery()
            .label(table.name)
            for table in (_models, tables.uploads, tables.results)
        ]
        with self._database.read() as connection:
            return {kind: int(size) for kind, size in connection.execute(sa.select(*sums)).one()._mapping.items()}

    def _audit(
        self,
        connection: sa.Connection,
        action: str,
        model: ModelVersion,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
    ) -> None:
        auditing.note(
            self._database,
            connection,
            action=action,
            kind="model",
            object_id=model.id,
            tenant_id=model.tenant_id,
            before=before,
            after=after,
        )


_NAMING = (_models.c.sha256, _models.c.golden, tables.uploads.c.sha256, tables.results.c.sha256)
"""Every column that names a blob. What is not named in one of them is garbage: a new one must stand here."""

_ACTIONS = {ModelState.DEPRECATED: "model.deprecate"}


def _told(model: ModelVersion) -> dict[str, Any]:
    """A model as the audit record tells it: nothing that its maker wrote freely."""
    return {
        name: getattr(model, name)
        for name in ("name", "version", "framework", "state", "sha256", "size_bytes", "runs_code")
    }


def _one(connection: sa.Connection, tenant_id: str, model_id: str, *, lock: bool = False) -> ModelVersion:
    query = sa.select(_models).where(_is(tenant_id, model_id))
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise _not_found(model_id)
    return from_row(row)


def _is(tenant_id: str, model_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_models.c.id == model_id, _models.c.tenant_id == tenant_id)


def _not_found(model_id: str) -> ModelNotFound:
    return ModelNotFound(f"There is no model {model_id[:80]}.", model_id=model_id[:80])


def _to_row(model: ModelVersion) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(model)
    row["key_id"] = acting.key_id()
    return {**row, **{key: json.dumps(row[key], allow_nan=False) for key in ("signature", "estimate", *_JSON)}}


def from_row(row: "sa.Row[Any]") -> ModelVersion:
    values = {name: value for name, value in row._mapping.items() if name != "key_id"}
    signature = msgspec.json.decode(values["signature"], type=Signature)
    return ModelVersion(
        **{
            **values,
            **{key: json.loads(values[key]) for key in _JSON},
            "estimate": json.loads(values["estimate"] or "{}"),
            "signature": signature,
            "state": ModelState(values["state"]),
        }
    )
