"""What the reconciler sees at one moment: who is alive, who holds what, and whose memory is back."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from inference.resources.fit import CPU, NOTHING, Holding, Room, Size
from inference.resources.leases import Lease, is_back
from inference.resources.plan import Limits
from inference.serving import cards_away
from inference.serving.model import Desired, Node, Observed, Replica, Service
from inference.serving.place import rooms_of, size_of
from inference.settings import ServingSettings

GONE = frozenset({Observed.PENDING, Observed.STOPPED, Observed.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What was read. `now`: by the clock of the leases. `card_bytes`: of a replica, by service, where nobody says.

    `instance_bytes`: of a card, by service, of those that are to grow in place.
    `away`: cards of living nodes that cannot be used now, in words; only where somebody waits for one.
    """

    services: Sequence[Service]
    replicas: Sequence[Replica]
    nodes: Sequence[Node]
    leases: Sequence[Lease] = ()
    now: float = 0.0
    card_bytes: Mapping[str, int] = field(default_factory=dict)
    instance_bytes: Mapping[str, int] = field(default_factory=dict)
    away: Sequence[str] = ()


class World:
    """Answers about rows; nothing in it changes."""

    def __init__(self, rows: Rows, settings: ServingSettings) -> None:
        self.now = rows.now
        self.rooms: Sequence[Room] = rooms_of(rows.nodes)
        self.room_of = {room.id: room for room in self.rooms}
        self._settings = settings
        self._alive = frozenset(node.id for node in rows.nodes if node.is_alive)
        self._real = frozenset(
            (node.id, gpu["uuid"])
            for node in rows.nodes
            for gpu in node.inventory.get("gpus", ())
            if gpu.get("source") == "nvml"
        )
        self._devices = cards_away.of_nodes(rows.nodes)
        self.card_bytes, self.away = rows.card_bytes, rows.away
        self.services = {service.id: service for service in rows.services}
        self.replicas = {replica.id: replica for replica in rows.replicas}
        self.instance_bytes, self.leases = rows.instance_bytes, rows.leases
        self._leases = {lease.replica_id: lease for lease in rows.leases}
        self._leaving_for: dict[str, list[str]] = {}
        for lease in rows.leases:
            if lease.for_id in self._leases:
                self._leaving_for.setdefault(str(lease.for_id), []).append(lease.replica_id)

    @property
    def limits(self) -> Limits:
        """Of this pass: who is on the way out already counts."""
        leaving = sum(map(len, self._leaving_for.values()))
        evictions = max(0, self._settings.evictions - leaving)
        return Limits(evictions=evictions, ageing_s=self._settings.ageing_s)

    def is_lost(self, replica: Replica) -> bool:
        """Its node is silent: nobody can say what runs there."""
        return replica.node_id not in self._alive

    def is_stranded(self, replica: Replica) -> bool:
        """Its node lives, and says that the card under it is lost or gone: what runs there can be ended, not used."""
        there = self._devices.get(replica.node_id)
        return there is not None and replica.device not in there

    def is_gone(self, replica: Replica) -> bool:
        """Nothing runs behind this row, nothing will, and what it held is back."""
        if replica.desired is not Desired.STOPPED:
            return False
        return self.is_lost(replica) or (replica.observed in GONE and self._is_back(replica))

    def _is_back(self, replica: Replica) -> bool:
        lease = self._leases.get(replica.id)
        is_real = (replica.node_id, replica.device) in self._real
        return lease is None or is_back(
            lease, since=replica.reported_at, now=self.now, is_real=is_real, wait_s=self._settings.unload_s
        )

    def waits_for(self, replica: Replica) -> Sequence[str]:
        """The replicas that leave to make room for this one."""
        return self._leaving_for.get(replica.id, ())

    def evictor(self, replica: Replica) -> Service | None:
        """The service for which this replica was put out, if it was."""
        lease = self._leases.get(replica.id)
        taker = None if lease is None or lease.for_id is None else self.replicas.get(lease.for_id)
        return None if taker is None else self.services.get(taker.service_id)

    def orphans(self) -> list[str]:
        """Leases whose replica row is gone, and behind which nothing can run: never started, or on a silent node.

        What may still run, the agent of its node judges.
        """
        return [
            lease.replica_id
            for lease in self._leases.values()
            if lease.replica_id not in self.replicas and (lease.owner_pid is None or lease.node_id not in self._alive)
        ]

    def unleased(self) -> list[Replica]:
        """Replicas from before there were leases."""
        return [one for one in self.replicas.values() if one.id not in self._leases and one.service_id in self.services]

    def holdings(self) -> list[Holding]:
        """Who holds what on living nodes. Of those whose rows will be removed, what nobody else takes over is free."""
        free = {
            replica.id
            for replica in self.replicas.values()
            if self.is_gone(replica) and not self._is_taken_over(replica.id)
        }
        leased = [self._of_lease(lease) for lease in self._leases.values() if lease.replica_id not in free]
        return leased + [self._of_replica(one) for one in self.replicas.values() if self._is_bare(one, free)]

    def _is_taken_over(self, replica_id: str) -> bool:
        lease = self._leases.get(replica_id)
        return lease is not None and lease.for_id in self._leases

    def _is_bare(self, replica: Replica, free: "set[str]") -> bool:
        return replica.id not in self._leases and replica.id not in free

    def _of_lease(self, lease: Lease) -> Holding:
        replica, service = self.replicas.get(lease.replica_id), self.services.get(lease.service_id)
        is_ending = replica is None or replica.desired is Desired.STOPPED or self.is_stranded(replica)
        is_fixed = (
            is_ending
            or service is None
            or not service.config.preemptible
            or lease.replica_id in self._leaving_for
            or self.now - lease.reserved_at < self._settings.residency_s
        )
        # A worker that ends makes room within its grace: whoever fits there then puts nobody out.
        is_leaving = is_ending and lease.for_id not in self._leases
        loaded_s = 0.0 if lease.allocated_at is None else lease.allocated_at - lease.reserved_at
        return Holding(
            id=lease.replica_id,
            group=lease.service_id,
            node_id=lease.node_id,
            device=lease.device,
            size=lease.held,
            priority=service.config.priority if service else 0,
            is_fixed=is_fixed,
            reload_s=max(0.0, loaded_s),
            is_leaving=is_leaving,
        )

    def _of_replica(self, replica: Replica) -> Holding:
        """By what its service asks for: a lease is given to it in this very pass."""
        return Holding(
            id=replica.id,
            group=replica.service_id,
            node_id=replica.node_id,
            device=replica.device,
            size=size_held(replica, self.services, self.rooms),
            is_fixed=True,
        )


def size_held(replica: Replica, services: Mapping[str, Service], rooms: Iterable[Room]) -> Size:
    """What a replica without a lease takes where it is."""
    service = services.get(replica.service_id)
    if service is None:
        return NOTHING
    size = size_of(service.config.requirements)
    if replica.device == CPU:
        return dataclasses.replace(size, card_bytes=0, is_whole=False)
    cards = {card.id: card.memory_bytes for room in rooms if room.id == replica.node_id for card in room.cards}
    return dataclasses.replace(size, card_bytes=cards.get(replica.device, 0)) if size.is_whole else size
