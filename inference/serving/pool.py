"""The pool: what all nodes have together, what replicas hold of it, and who."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from inference.access.model import Scope
from inference.resources.fit import CPU, Room, Size
from inference.resources.leases import Lease, LeaseState
from inference.serving.model import Replica, Service
from inference.serving.place import rooms_of
from inference.serving.ports import ServingPorts


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Of one thing: how much there is, how much is held in each state of a lease, and what is left."""

    total: float
    held: Mapping[LeaseState, float]

    @property
    def free(self) -> float:
        """Below 0 only where a node has less than it had when the leases were given."""
        return self.total - sum(self.held.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePart:
    """`holders`: replicas on it. `is_whole`: one of them has it for itself."""

    node_id: str
    device: str
    memory: Part
    holders: int
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePart:
    node_id: str
    cpus: Part
    memory: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaUse:
    """A replica, and what it holds; None for one from before there were leases. `waits_for`: who leaves for it."""

    replica: Replica
    lease: Lease | None
    waits_for: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUse:
    """What a service holds now, also for replicas whose rows are gone. `devices`: cards that it is on."""

    service: Service
    leases: Sequence[Lease]
    replicas: Sequence[ReplicaUse] = ()

    @property
    def devices(self) -> int:
        return len({(lease.node_id, lease.device) for lease in self.leases if lease.device != CPU})

    @property
    def held(self) -> Size:
        """Of all its replicas together."""
        return total_of(lease.held for lease in self.leases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Living nodes and their devices by id, and the services that hold or wait for something."""

    nodes: Sequence[NodePart]
    devices: Sequence[DevicePart]
    services: Sequence[ServiceUse]


def show(ports: ServingPorts) -> Pool:
    """As the tables say now. Raises StoreUnavailable."""
    leases = ports.leases.all()
    rooms = rooms_of(ports.nodes.list(silence_s=ports.settings.node_silence_s))
    at: dict[tuple[str, str], list[Lease]] = defaultdict(list)
    of: dict[str, list[Lease]] = defaultdict(list)
    for lease in leases:
        at[lease.node_id, lease.device].append(lease)
        of[lease.service_id].append(lease)
    return Pool(
        nodes=[_node(room, [lease for lease in leases if lease.node_id == room.id]) for room in rooms],
        devices=[device for room in rooms for device in _devices(room, at)],
        services=[ServiceUse(service=service, leases=of[service.id]) for service in ports.services.watched()],
    )


def of_service(ports: ServingPorts, *, scope: Scope, service_id: str) -> ServiceUse:
    """What a service holds, and each of its replicas by ordinal. Raises ServiceNotFound."""
    service = ports.services.get(scope, service_id)
    leases = {lease.replica_id: lease for lease in ports.leases.all()}
    leaving: dict[str | None, list[str]] = defaultdict(list)
    for lease in leases.values():
        leaving[lease.for_id].append(lease.replica_id)
    replicas = [
        ReplicaUse(replica=replica, lease=leases.get(replica.id), waits_for=leaving.get(replica.id, ()))
        for replica in ports.replicas.of_service(service.id)
    ]
    mine = [lease for lease in leases.values() if lease.service_id == service.id]
    return ServiceUse(service=service, leases=mine, replicas=replicas)


def total_of(sizes: Iterable[Size]) -> Size:
    """Their sum."""
    listed = list(sizes)
    return Size(
        card_bytes=sum(size.card_bytes for size in listed),
        cpu_milli=sum(size.cpu_milli for size in listed),
        memory_bytes=sum(size.memory_bytes for size in listed),
    )


def sum_of(parts: Iterable[Part]) -> Part:
    """All of them as one."""
    listed = list(parts)
    return Part(
        total=sum(part.total for part in listed),
        held={state: sum(part.held[state] for part in listed) for state in LeaseState},
    )


def _node(room: Room, leases: Sequence[Lease]) -> NodePart:
    return NodePart(
        node_id=room.id,
        cpus=Part(total=room.cpu_milli / 1000, held=_held(leases, lambda size: size.cpu_milli / 1000)),
        memory=Part(total=room.memory_bytes, held=_held(leases, lambda size: size.memory_bytes)),
    )


def _devices(room: Room, at: "Mapping[tuple[str, str], Sequence[Lease]]") -> Iterable[DevicePart]:
    for card in room.cards:
        here = at.get((room.id, card.id), ())
        yield DevicePart(
            node_id=room.id,
            device=card.id,
            memory=Part(total=card.memory_bytes, held=_held(here, lambda size: size.card_bytes)),
            holders=len(here),
            is_whole=any(lease.held.is_whole for lease in here),
        )


def _held(leases: Sequence[Lease], amount: "Callable[[Size], float]") -> "dict[LeaseState, float]":
    return {state: sum(amount(lease.held) for lease in leases if lease.state is state) for state in LeaseState}
