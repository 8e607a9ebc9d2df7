"""What serving needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inference.access.model import Scope
from inference.registry.ports import ModelStore
from inference.resources.leases import Ask, Lease
from inference.resources.model import Device
from inference.resources.ports import DeviceStore
from inference.serving.model import (
    Deployment,
    Desired,
    Node,
    Observed,
    Profile,
    Replica,
    Service,
    ServiceConfig,
    ServiceEvent,
    ServiceState,
)
from inference.settings import ServingSettings


class ServiceStore(Protocol):
    """Service rows. Calls that a person causes name the scope; the reconciler's do not."""

    def insert(self, service: Service) -> None:
        """Raises NameExists for a name in use by the tenant."""
        ...

    def get(self, scope: Scope, service_id: str) -> Service:
        """Raises ServiceNotFound."""
        ...

    def of_any_tenant(self, service_id: str) -> Service:
        """For workers, who are told a service's id and nothing else. Raises ServiceNotFound."""
        ...

    def list(
        self,
        scope: Scope,
        *,
        state: ServiceState | None = None,
        workspace: str | None = None,
        model_ids: Collection[str] | None = None,
        limit: int = 100,
        before_id: str | None = None,
    ) -> Sequence[Service]:
        """Newest first. `workspace` narrows further than the scope does; `model_ids`: those of these models."""
        ...

    def workspaces(self, scope: Scope) -> Sequence[tuple[str, int]]:
        """Each distinct name with the number of its services, by name."""
        ...

    def ids(self, scope: Scope) -> frozenset[str]:
        """Of every service in the scope."""
        ...

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
        """One compare-and-set on the state, with its event row; None when the state was not in `allowed`.

        Sets `started_at` on a move to deploying and `stopped_at` on a move to stopping.
        """
        ...

    def explain(self, service_id: str, *, reason: str | None, suggested_action: str | None) -> None:
        """Changes the reason shown, without a change of state."""
        ...

    def configure(
        self,
        scope: Scope,
        service_id: str,
        *,
        config: ServiceConfig,
        replicas_only: bool,
        model_id: str | None = None,
    ) -> Service:
        """Writes a new config, and another model if one is named; `scaled_at` for a change of replicas only, else
        `revision` + 1."""
        ...

    def wake(self, scope: Scope, service_id: str) -> Service:
        """A service at rest begins anew with the size of its config; any other stays as it is.

        Raises ServiceNotFound.
        """
        ...

    def delete(self, scope: Scope, service_id: str) -> None:
        """Removes the service with its replicas, events and jobs."""
        ...

    def watched(self) -> Sequence[Service]:
        """Services that the reconciler must look at: not settled, or with replica rows."""
        ...

    def events(self, scope: Scope, service_id: str, *, limit: int = 100) -> Sequence[ServiceEvent]:
        """Newest first."""
        ...


class ReplicaStore(Protocol):
    """Replica rows. What a worker or agent reports is fenced by the replica's generation."""

    def all(self) -> Sequence[Replica]: ...

    def of_service(self, service_id: str) -> Sequence[Replica]: ...

    def of_node(self, node_id: str) -> Sequence[Replica]: ...

    def get(self, replica_id: str) -> Replica | None: ...

    def insert(self, replica: Replica, ask: Ask | None = None) -> bool:
        """The row, and the lease that `ask` describes, in one transaction that also stops its victims.

        False, and nothing is done, when the ordinal is taken, the room is gone or a victim has left by itself.
        """
        ...

    def set_desired(self, replica_id: str, desired: Desired) -> None: ...

    def set_instances(self, replica_id: str, instances: int, *, card_bytes: int = 0) -> bool:
        """How many instances its worker should have from now on; its lease grows in the same transaction.

        `card_bytes`: what they take of its card; 0: no more than it has. False, and nothing is done, when others hold
        so much of the card that this does not fit, or the replica is gone.
        """
        ...

    def delete(self, replica_id: str) -> None:
        """The row and its lease; whoever waited for it to leave takes over what it held."""
        ...

    def begin(self, replica_id: str) -> int:
        """A new generation: observed becomes starting, `instances_ready` 0. Answers the generation; 0 if not now."""
        ...

    def report(
        self,
        replica_id: str,
        generation: int,
        *,
        observed: Observed,
        instances_ready: int | None = None,
        pid: int | None = None,
        reason: str | None = None,
        restarted: bool = False,
        idle_s: float | None = None,
        owner: tuple[int, int] | None = None,
    ) -> bool:
        """False when the generation is over. `restarted` counts one more restart; `idle_s`: since an engine worked.

        `owner`: process id and start time of who holds the lease from now on. The lease is allocated with the first
        READY, and unloading from STOPPED on.
        """
        ...

    def note_load_failure(self, replica_id: str, generation: int, *, reason: str) -> int:
        """Load failures in a row, this one included; a report of READY sets them back to 0."""
        ...


class InstanceStore(Protocol):
    """Engine processes and their leases."""

    def open(
        self, *, service_id: str, replica_id: str, slot: int, replica_generation: int, pid: int, lease_s: float
    ) -> tuple[str, int]:
        """Registers a fresh instance (its id and generation); an earlier one in the same slot is over."""
        ...

    def renew(self, instances: Mapping[str, int], *, lease_s: float) -> frozenset[str]:
        """Extends leases (id -> generation); the ids that were still valid."""
        ...

    def end(self, instance_id: str, generation: int) -> None:
        """The process is gone: its lease is over now, and the reaper may take its jobs."""
        ...

    def end_replica(self, replica_id: str) -> int:
        """Ends every instance of a replica; how many were open."""
        ...


class LeaseStore(Protocol):
    """What replicas hold; made and released with their rows, by the `ReplicaStore`."""

    def all(self) -> Sequence[Lease]: ...

    def now(self) -> float:
        """Epoch seconds by the clock that the leases' times are of."""
        ...

    def orphans(self, node_id: str) -> Sequence[Lease]:
        """Leases of a node whose replica row is gone."""
        ...

    def release_orphan(self, replica_id: str) -> bool:
        """For who knows that nothing runs behind it any more. False when there is a replica row after all."""
        ...

    def adopt(self, ask: Ask) -> None:
        """A lease for a replica that has none, whether there is room or not. May be repeated."""
        ...


class NodeStore(Protocol):
    """Hosts that can run workers. Alive = heard within `silence_s`, by the database clock."""

    def beat(
        self,
        node_id: str,
        *,
        host: str,
        inventory: Mapping[str, Any],
        devices: Sequence[Device] | None = None,
        usage: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """With all that the node has and does. `devices`: all of them; another that it had is gone from now on.

        `usage`: what each of its replicas uses now, by id; the others use nothing.
        """
        ...

    def leave(self, node_id: str) -> None:
        """The node signs off: from now on it does not count as alive."""
        ...

    def list(self, *, silence_s: float) -> Sequence[Node]: ...


class TickStore(Protocol):
    """Periodic duties, each done by one of any number of processes."""

    def take(self, name: str, *, every_s: float, by: str) -> bool:
        """True for exactly one caller per period, by compare-and-set on the database clock."""
        ...

    def age_s(self, name: str) -> float | None:
        """Seconds since the duty was last taken; None if never."""
        ...


class ProfileStore(Protocol):
    """Batch curves, by model and kind of device."""

    def get(self, model_id: str, device_kind: str) -> Profile | None: ...

    def of_model(self, model_id: str) -> Sequence[Profile]: ...

    def put(self, profile: Profile) -> None: ...


class DeploymentStore(Protocol):
    """Records of what was deployed where; every call names the scope."""

    def insert(self, deployment: Deployment) -> None: ...

    def get(self, scope: Scope, deployment_id: str) -> Deployment:
        """Raises DeploymentNotFound."""
        ...

    def list(
        self, scope: Scope, *, model_id: str | None = None, limit: int = 100, before_id: str | None = None
    ) -> Sequence[Deployment]:
        """Newest first."""
        ...


class Kick(Protocol):
    """Wakes the reconciler now rather than at its next tick. Never raises; nobody depends on it."""

    def reconcile(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPorts:
    services: ServiceStore
    replicas: ReplicaStore
    leases: LeaseStore
    instances: InstanceStore
    nodes: NodeStore
    devices: DeviceStore
    ticks: TickStore
    profiles: ProfileStore
    deployments: DeploymentStore
    models: ModelStore
    kick: Kick
    settings: ServingSettings
