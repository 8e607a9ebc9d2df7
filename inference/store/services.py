"""Service rows, and the history of their states."""

import builtins
import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from inference.access.model import Scope
from inference.errors import NameExists, ServiceNotFound
from inference.ids import new_id
from inference.serving.model import (
    MEANT_TO_RUN,
    AutoScaling,
    Requirements,
    Service,
    ServiceConfig,
    ServiceEvent,
    ServiceState,
)
from inference.store import auditing, revoking
from inference.store.database import Database
from inference.store.scoped import services_in
from inference.store.tables import (
    api_keys,
    attempts,
    budgets,
    deployments,
    instances,
    jobs,
    payloads,
    replicas,
    result_cache,
    results,
    scaling,
    scaling_decisions,
    service_events,
    services,
)
from inference.store.unchanged import Unchanged
from inference.store.upsert import insert_new

DELETE_CHUNK = 1000
_UNSETTLED = (*MEANT_TO_RUN, ServiceState.STOPPING, ServiceState.PREEMPTED)


_WATCHED = sa.text(
    f"SELECT {', '.join(column.name for column in services.columns)} FROM services s "
    f"WHERE state IN ({', '.join(repr(state.value) for state in _UNSETTLED)}) "
    "OR EXISTS (SELECT 1 FROM replicas r WHERE r.service_id = s.id) ORDER BY id"
)
"""Plain text: it runs every second of an idle system."""


class SqlServices:
    """The `ServiceStore` of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._clock: sa.ColumnElement[float] = sa.literal_column(database.clock, sa.Double())
        self._seen = Unchanged(service_of)

    def insert(self, service: Service) -> None:
        """The row and the first event of its history. Raises NameExists."""
        with self._db.write() as connection:
            if not insert_new(connection, self._db, services, _row(service)):
                raise NameExists(f"A service called '{service.name}' exists; choose another name.", name=service.name)
            self._note(connection, service.id, "", service.state, "created")
            self._audit(connection, "service.create", service, None, _told(service))

    def get(self, scope: Scope, service_id: str) -> Service:
        return self._one(service_id, services_in(scope))

    def of_any_tenant(self, service_id: str) -> Service:
        return self._one(service_id, sa.true())

    def _one(self, service_id: str, condition: sa.ColumnElement[bool]) -> Service:
        with self._db.read() as connection:
            query = sa.select(services).where(services.c.id == service_id, condition)
            row = connection.execute(query).one_or_none()
        if row is None:
            raise _missing(service_id)
        return service_of(row)

    def list(
        self,
        scope: Scope,
        *,
        state: ServiceState | None = None,
        workspace: str | None = None,
        model_ids: Collection[str] | None = None,
        limit: int = 100,
        before_id: str | None = None,
    ) -> "list[Service]":
        query = sa.select(services).where(services_in(scope))
        if workspace is not None:
            query = query.where(services.c.workspace == workspace)
        if model_ids is not None:
            query = query.where(services.c.model_id.in_(model_ids))
        if state is not None:
            query = query.where(services.c.state == state.value)
        if before_id is not None:
            query = query.where(services.c.id < before_id)
        with self._db.read() as connection:
            return [service_of(row) for row in connection.execute(query.order_by(services.c.id.desc()).limit(limit))]

    def workspaces(self, scope: Scope) -> "builtins.list[tuple[str, int]]":
        name = services.c.workspace
        query = sa.select(name, sa.func.count()).where(services_in(scope)).group_by(name).order_by(name)
        with self._db.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def ids(self, scope: Scope) -> frozenset[str]:
        with self._db.read() as connection:
            return frozenset(connection.execute(sa.select(services.c.id).where(services_in(scope))).scalars())

    def move(
        self,
        scope: Scope | None,
        service_id: str,
        *,
        allowed: Sequence[ServiceState],
        to: ServiceState,
        reason: str,
        suggested_action: str | None = None,
    ) -> Service | None:
        """A running service shows no reason: it is kept in the event alone."""
        states = [state.value for state in allowed]
        values: dict[str, Any] = {
            "state": to.value,
            "updated_at": self._clock,
            "reason": None if to is ServiceState.RUNNING else reason,
            "suggested_action": suggested_action,
        }
        if to is ServiceState.DEPLOYING:
            values["started_at"] = self._clock
            values |= {"target_replicas": None, "target_instances": None, "target_reason": None}
        if to is ServiceState.STOPPING:
            values["stopped_at"] = self._clock
        mine = (services.c.id == service_id) & services_in(scope)
        found = sa.select(services.c.state).where(mine).with_for_update()

        def work() -> Service | None:
            with self._db.write() as connection:
                before = connection.execute(found).scalar_one_or_none()
                if before not in states:
                    return None
                where = mine & (services.c.state == before)
                row = connection.execute(sa.update(services).where(where).values(values).returning(services)).one()
                self._note(connection, service_id, str(before), to, reason)
                after = service_of(row)
                self._audit(connection, _ACTIONS.get(to, "service.move"), after, {"state": before}, {"state": to.value})
                return after

        return self._db.again(work)

    def explain(self, service_id: str, *, reason: str | None, suggested_action: str | None) -> None:
        change = sa.update(services).where(services.c.id == service_id)
        with self._db.write() as connection:
            connection.execute(change.values(reason=reason, suggested_action=suggested_action))

    def configure(
        self,
        scope: Scope,
        service_id: str,
        *,
        config: ServiceConfig,
        replicas_only: bool,
        model_id: str | None = None,
    ) -> Service:
        """Raises ServiceNotFound."""
        values: dict[str, Any] = {
            "config": _config_text(config),
            "queue_while_stopped": config.queue_while_stopped,
            "updated_at": self._clock,
        }
        if replicas_only:
            values["scaled_at"] = self._clock
        else:
            values["revision"] = services.c.revision + 1
        if model_id is not None:
            values["model_id"] = model_id
        mine = (services.c.id == service_id) & services_in(scope)
        found = sa.select(services).where(mine).with_for_update()
        change = sa.update(services).where(mine).values(values).returning(services)
        with self._db.write() as connection:
            if (row := connection.execute(found).one_or_none()) is None:
                raise _missing(service_id)
            before, after = service_of(row), service_of(connection.execute(change).one())
            self._audit(connection, "service.configure", after, _told(before), _told(after))
        return after

    def wake(self, scope: Scope, service_id: str) -> Service:
        mine = (services.c.id == service_id) & services_in(scope) & (services.c.target_replicas == 0)
        size = {"target_replicas": None, "target_instances": None, "target_reason": None, "started_at": self._clock}
        with self._db.write() as connection:
            state = connection.execute(sa.update(services).where(mine).values(size).returning(services.c.state))
            if (found := state.scalar_one_or_none()) is not None:
                self._note(connection, service_id, found, ServiceState(found), "wakes: asked to be there")
        return self.get(scope, service_id)

    def delete(self, scope: Scope, service_id: str) -> None:
        """Jobs go in short transactions first, so that other writers get their turn; the row goes last.

        Interrupted half-way, it may simply be called again. Raises ServiceNotFound.
        """
        self.get(scope, service_id)
        while self._delete_jobs(scope, service_id, DELETE_CHUNK) == DELETE_CHUNK:
            pass
        with self._db.write() as connection:
            _drop_jobs(connection, scope, service_id, None)
            for table in (instances, replicas, service_events, scaling, result_cache):
                connection.execute(sa.delete(table).where(table.c.service_id == service_id))
            for table in (budgets, scaling_decisions):
                owned = (table.c.tenant_id == scope.tenant_id) & (table.c.service_id == service_id)
                connection.execute(sa.delete(table).where(owned))
            deployed = (deployments.c.tenant_id == scope.tenant_id) & (deployments.c.service_id == service_id)
            connection.execute(sa.delete(deployments).where(deployed))
            mine = (services.c.id == service_id) & services_in(scope)
            row = connection.execute(sa.delete(services).where(mine).returning(services)).one_or_none()
            revoking.revoke(self._db, connection, scope.tenant_id, api_keys.c.service_id == service_id)
            if row is not None:
                self._audit(connection, "service.delete", gone := service_of(row), _told(gone), None)

    def watched(self) -> "builtins.list[Service]":
        """Read the replicas first: a replica without a watched service is then one whose service is gone."""
        with self._db.read() as connection:
            return self._seen.of(connection.execute(_WATCHED))

    def events(self, scope: Scope, service_id: str, *, limit: int = 100) -> "builtins.list[ServiceEvent]":
        """Raises ServiceNotFound."""
        self.get(scope, service_id)
        query = sa.select(service_events).where(service_events.c.service_id == service_id)
        newest = query.order_by(service_events.c.at.desc(), service_events.c.id.desc()).limit(limit)
        with self._db.read() as connection:
            return [
                ServiceEvent(
                    service_id=row.service_id,
                    at=row.at,
                    from_state=row.from_state,
                    to_state=row.to_state,
                    reason=row.reason,
                )
                for row in connection.execute(newest)
            ]

    def _delete_jobs(self, scope: Scope, service_id: str, limit: int) -> int:
        with self._db.write() as connection:
            return _drop_jobs(connection, scope, service_id, limit)

    def _note(self, connection: sa.Connection, service_id: str, before: str, to: ServiceState, reason: str) -> None:
        event = {"id": new_id(), "service_id": service_id, "from_state": before, "to_state": to.value, "reason": reason}
        connection.execute(sa.insert(service_events).values(at=self._clock, **event))

    def _audit(
        self,
        connection: sa.Connection,
        action: str,
        service: Service,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        auditing.note(
            self._db,
            connection,
            action=action,
            kind="service",
            object_id=service.id,
            tenant_id=service.tenant_id,
            before=before,
            after=after,
        )


_ACTIONS = {ServiceState.DEPLOYING: "service.start", ServiceState.STOPPING: "service.stop"}


def _told(service: Service) -> dict[str, Any]:
    """A service as the audit record tells it. Of what the client wrote only what is kept nowhere else."""
    config = dataclasses.asdict(service.config)
    del config["raw"]
    return {
        "name": service.name,
        "workspace": service.workspace,
        "model_id": service.model_id,
        "state": service.state,
        "revision": service.revision,
        "config": config,
    }


def _drop_jobs(connection: sa.Connection, scope: Scope, service_id: str, limit: int | None) -> int:
    """Jobs of a service with all that hangs on them, oldest first; how many."""
    mine = (jobs.c.tenant_id == scope.tenant_id) & (jobs.c.service_id == service_id)
    found = sa.select(jobs.c.id).where(mine).order_by(jobs.c.id).limit(limit)
    ids = list(connection.execute(found).scalars())
    for start in range(0, len(ids), DELETE_CHUNK):
        chunk = ids[start : start + DELETE_CHUNK]
        for table in (payloads, results, attempts):
            connection.execute(sa.delete(table).where(table.c.job_id.in_(chunk)))
        connection.execute(sa.delete(jobs).where((jobs.c.tenant_id == scope.tenant_id) & jobs.c.id.in_(chunk)))
    return len(ids)


def _missing(service_id: str) -> ServiceNotFound:
    return ServiceNotFound(f"There is no service {service_id}.", service_id=service_id)


def _config_text(config: ServiceConfig) -> str:
    return json.dumps(dataclasses.asdict(config))


_CONFIG_FIELDS = frozenset(field.name for field in dataclasses.fields(ServiceConfig))


def _config(text: str) -> ServiceConfig:
    """What a newer version wrote besides is left aside."""
    values: Mapping[str, Any] = json.loads(text)
    known = {key: value for key, value in values.items() if key in _CONFIG_FIELDS}
    scaling = dict(values.get("auto_scaling", {}))
    if "schedules" in scaling:
        scaling["schedules"] = tuple(scaling["schedules"])
    nested = {"requirements": Requirements(**values.get("requirements", {})), "auto_scaling": AutoScaling(**scaling)}
    return ServiceConfig(**{**known, **nested})


_PLAIN: Mapping[str, Callable[[Service], Any]] = {
    "state": lambda service: service.state.value,
    "config": lambda service: _config_text(service.config),
    "queue_while_stopped": lambda service: service.config.queue_while_stopped,
}


def _row(service: Service) -> dict[str, Any]:
    return {
        column.name: _PLAIN[column.name](service) if column.name in _PLAIN else getattr(service, column.name)
        for column in services.columns
    }


def service_of(row: "sa.Row[Any]") -> Service:
    """A row of the whole table."""
    values = dict(row._mapping)
    del values["queue_while_stopped"]
    return Service(**{**values, "state": ServiceState(row.state), "config": _config(row.config)})
