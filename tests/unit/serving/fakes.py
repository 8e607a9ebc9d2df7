"""Fakes of what serving needs, in memory; the stores' own promises are held by tests/contract."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from inference.access.model import Scope
from inference.errors import DeploymentNotFound, ModelNotFound, NameExists, ServiceNotFound
from inference.registry.model import ModelState, ModelVersion, Signature
from inference.resources.leases import Ask
from inference.serving.model import (
    Deployment,
    Desired,
    Node,
    Profile,
    Replica,
    Service,
    ServiceConfig,
    ServiceEvent,
    ServiceState,
)
from inference.serving.ports import ServingPorts
from inference.settings import ServingSettings
from tests.fakes_leases import FakeLeases
from tests.fakes_resources import FakeDevices


class FakeServices:
    def __init__(self) -> None:
        self.rows: dict[str, Service] = {}
        self.notes: list[ServiceEvent] = []
        self.moved_under_us: ServiceState | None = None

    def insert(self, service: Service) -> None:
        if any(row.name == service.name for row in self.rows.values()):
            raise NameExists(service.name)
        self.rows[service.id] = service

    def get(self, scope: Scope, service_id: str) -> Service:
        row = self.rows.get(service_id)
        if row is None or row.tenant_id != scope.tenant_id:
            raise ServiceNotFound(service_id)
        return row

    def list(self, scope: Scope, **_: Any) -> Sequence[Service]:
        return [row for row in self.rows.values() if row.tenant_id == scope.tenant_id]

    def workspaces(self, scope: Scope) -> Sequence[tuple[str, int]]:
        return [("", len(self.list(scope)))]

    def ids(self, scope: Scope) -> frozenset[str]:
        return frozenset(row.id for row in self.list(scope))

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
        row = self.rows[service_id]
        if self.moved_under_us is not None:
            row = self.rows[service_id] = dataclasses.replace(row, state=self.moved_under_us)
            self.moved_under_us = None
        if row.state not in allowed:
            return None
        self.notes.append(ServiceEvent(service_id=service_id, at=0, from_state=row.state, to_state=to, reason=reason))
        self.rows[service_id] = dataclasses.replace(row, state=to, reason=reason, suggested_action=suggested_action)
        return self.rows[service_id]

    def explain(self, service_id: str, *, reason: str | None, suggested_action: str | None) -> None:
        row = self.rows[service_id]
        self.rows[service_id] = dataclasses.replace(row, reason=reason, suggested_action=suggested_action)

    def configure(
        self,
        scope: Scope,
        service_id: str,
        *,
        config: ServiceConfig,
        replicas_only: bool,
        model_id: str | None = None,
    ) -> Service:
        row = self.rows[service_id]
        change: dict[str, Any] = {"scaled_at": 9.0} if replicas_only else {"revision": row.revision + 1}
        self.rows[service_id] = dataclasses.replace(row, config=config, model_id=model_id or row.model_id, **change)
        return self.rows[service_id]

    def wake(self, scope: Scope, service_id: str) -> Service:
        row = self.rows[service_id]
        self.rows[service_id] = dataclasses.replace(row, target_replicas=None, target_instances=None)
        return self.rows[service_id]

    def delete(self, scope: Scope, service_id: str) -> None:
        del self.rows[service_id]

    def watched(self) -> Sequence[Service]:
        return list(self.rows.values())

    def events(self, scope: Scope, service_id: str, *, limit: int = 100) -> Sequence[ServiceEvent]:
        return self.notes[:limit]


class FakeReplicas:
    def __init__(self) -> None:
        self.rows: dict[str, Replica] = {}
        self.leases = FakeLeases()

    def all(self) -> Sequence[Replica]:
        return list(self.rows.values())

    def of_service(self, service_id: str) -> Sequence[Replica]:
        return [row for row in self.rows.values() if row.service_id == service_id]

    def insert(self, replica: Replica, ask: Ask | None = None) -> bool:
        self.rows[replica.id] = replica
        if ask is not None:
            self.leases.add(ask)
            for victim in ask.victims:
                self.set_desired(victim, Desired.STOPPED)
        return True

    def set_desired(self, replica_id: str, desired: Any) -> None:
        self.rows[replica_id] = dataclasses.replace(self.rows[replica_id], desired=desired)

    def set_instances(self, replica_id: str, instances: int, *, card_bytes: int = 0) -> bool:
        self.rows[replica_id] = dataclasses.replace(self.rows[replica_id], instances=instances)
        if card_bytes:
            self.leases.extend(replica_id, card_bytes)
        return True

    def delete(self, replica_id: str) -> None:
        del self.rows[replica_id]
        self.leases.rows.pop(replica_id, None)


class FakeNodes:
    def __init__(self) -> None:
        inventory = {"cpus": 2, "memory_bytes": 8 << 30}
        self.rows = [Node(id="n1", host="n1", inventory=inventory, heartbeat_at=0.0)]

    def list(self, *, silence_s: float) -> Sequence[Node]:
        return self.rows


class FakeProfiles:
    def __init__(self) -> None:
        self.rows: list[Profile] = []

    def of_model(self, model_id: str) -> Sequence[Profile]:
        return [row for row in self.rows if row.model_id == model_id]


class FakeDeployments:
    def __init__(self) -> None:
        self.rows: dict[str, Deployment] = {}

    def insert(self, deployment: Deployment) -> None:
        self.rows[deployment.id] = deployment

    def get(self, scope: Scope, deployment_id: str) -> Deployment:
        if deployment_id not in self.rows:
            raise DeploymentNotFound(deployment_id)
        return self.rows[deployment_id]

    def list(self, scope: Scope, **_: Any) -> Sequence[Deployment]:
        return list(self.rows.values())


class FakeModels:
    """`m` is `row`; `others` by their ids."""

    def __init__(self) -> None:
        self.others: dict[str, ModelVersion] = {}
        self.row = ModelVersion(
            id="m",
            tenant_id="t",
            name="digits",
            version="1.0.0",
            framework="onnx",
            state=ModelState.REGISTERED,
            sha256="",
            size_bytes=0,
            golden="",
            signature=Signature(inputs=(), outputs=(), engine_inputs=(), engine_outputs=()),
        )

    def get(self, tenant_id: str, model_id: str) -> ModelVersion:
        if (found := {**self.others, "m": self.row}.get(model_id)) is None or tenant_id != "t":
            raise ModelNotFound(model_id)
        return found


class FakeKick:
    def __init__(self) -> None:
        self.count = 0

    def reconcile(self) -> None:
        self.count += 1


def fake_ports() -> Any:
    """Ports whose fakes a test may reach into; typed loosely for that."""
    unused: Any = None
    replicas = FakeReplicas()
    fakes: Any = {
        "services": FakeServices(),
        "replicas": replicas,
        "leases": replicas.leases,
        "nodes": FakeNodes(),
        "devices": FakeDevices(),
        "profiles": FakeProfiles(),
        "deployments": FakeDeployments(),
        "models": FakeModels(),
        "kick": FakeKick(),
    }
    return ServingPorts(instances=unused, ticks=unused, settings=ServingSettings(), **fakes)
