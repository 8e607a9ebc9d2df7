"""Read services: one, many, or one with all that is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from inference.access.model import Scope
from inference.resources.estimate import MemoryNeed
from inference.serving import memory
from inference.serving.model import Desired, Observed, Profile, Replica, Service, ServiceEvent, ServiceState
from inference.serving.ports import ServingPorts


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A service, its replicas by ordinal, and the batch curves of its model by kind of device.

    `memory`: what one of its instances takes.
    """

    service: Service
    replicas: tuple[Replica, ...]
    profiles: tuple[Profile, ...]
    memory: MemoryNeed

    @property
    def replicas_ready(self) -> int:
        """Those that serve and are meant to go on; one that will drain does not count."""
        return sum(
            replica.observed is Observed.READY and replica.desired is Desired.RUNNING for replica in self.replicas
        )

    @property
    def instances_ready(self) -> int:
        return sum(replica.instances_ready for replica in self.replicas)


def get(ports: ServingPorts, *, scope: Scope, service_id: str) -> Service:
    """Raises ServiceNotFound."""
    return ports.services.get(scope, service_id)


def find(
    ports: ServingPorts,
    *,
    scope: Scope,
    state: ServiceState | None = None,
    workspace: str | None = None,
    limit: int = 100,
    before_id: str | None = None,
) -> Sequence[Service]:
    """Newest first; `before_id` is the cursor. An empty `workspace` asks for services that are in none."""
    return ports.services.list(scope, state=state, workspace=workspace, limit=limit, before_id=before_id)


def workspaces(ports: ServingPorts, *, scope: Scope) -> Sequence[tuple[str, int]]:
    """Name and number of services of each workspace in the scope, by name; the empty name is that of none."""
    return ports.services.workspaces(scope)


def ids(ports: ServingPorts, *, scope: Scope) -> frozenset[str]:
    """The ids of all services in the scope."""
    return ports.services.ids(scope)


def describe(ports: ServingPorts, *, scope: Scope, service_id: str) -> ServiceView:
    """Raises ServiceNotFound."""
    service = ports.services.get(scope, service_id)
    model = ports.models.get(service.tenant_id, service.model_id)
    replicas = tuple(ports.replicas.of_service(service_id))
    profiles = tuple(ports.profiles.of_model(service.model_id))
    on_card = memory.is_on_card(service.config, replicas)
    need = memory.per_instance(model, profiles, service.config, on_card=on_card)
    return ServiceView(service=service, replicas=replicas, profiles=profiles, memory=need)


def events(ports: ServingPorts, *, scope: Scope, service_id: str, limit: int = 100) -> Sequence[ServiceEvent]:
    """The history of its states, newest first. Raises ServiceNotFound."""
    return ports.services.events(scope, service_id, limit=limit)
