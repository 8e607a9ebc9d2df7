"""More instances in a replica that is there: as many as its share of its card holds, or can be made to hold."""

from collections.abc import Iterable, Mapping, Sequence

from inference.errors import NoRoom
from inference.resources.fit import CPU, Room
from inference.resources.leases import Lease, extended
from inference.serving import card_memory
from inference.serving.model import MEANT_TO_RUN, Desired, Replica, Service
from inference.serving.place import NoPlace, gib, rooms_of
from inference.serving.ports import ServingPorts

ADVICE = "Ask for fewer instances or for more replicas, or stop or shrink a service on that GPU."


def bytes_each(ports: ServingPorts, services: Iterable[Service], replicas: Sequence[Replica]) -> dict[str, int]:
    """What one instance takes of a card, by service: of those that are to grow where they are, as far as known.

    Nothing is read while nobody is to grow.
    """
    known = {service.id: service for service in services}
    growing = {
        one.service_id
        for one in replicas
        if one.device != CPU and one.service_id in known and _grows(one, known[one.service_id].wanted_instances)
    }
    found = {service_id: card_memory.of_instance(ports, known[service_id]).bytes for service_id in growing}
    return {service_id: size for service_id, size in found.items() if size}


def most(replica: Replica, wanted: int, *, each: int, rooms: Mapping[str, Room], leases: Sequence[Lease]) -> int:
    """As many instances as it may have now, `wanted` at most, and no fewer than it has. `each`: 0 if nobody knows."""
    if not each or not _grows(replica, wanted) or replica.node_id not in rooms:
        return wanted
    here = [lease for lease in leases if lease.node_id == replica.node_id]
    room = rooms[replica.node_id]
    for count in range(wanted, replica.instances, -1):
        if extended(room, here, replica.id, card_bytes=count * each) is not None:
            return count
    return replica.instances


def refusal(replica: Replica, count: int, wanted: int, *, each: int) -> NoPlace:
    """Why it has `count` instances."""
    return NoPlace(
        reason=f"Replica {replica.ordinal} has room for {count} of {wanted} instances: "
        f"each takes {gib(each)} of GPU {replica.device}, and others hold the rest.",
        suggested_action=ADVICE,
    )


def require_room(ports: ServingPorts, service: Service, instances: int) -> None:
    """Before a person's wish is written. Raises NoRoom when some replica cannot grow to so many where it is.

    What is free now may be taken a moment later: then the reconciler does not get it either, and the service says so.
    """
    is_more = instances > service.config.instances
    if not is_more or service.state not in MEANT_TO_RUN or service.config.auto_scaling.enabled:
        return
    replicas = ports.replicas.of_service(service.id)
    if not any(_grows(one, instances) for one in replicas):
        return
    each, leases = card_memory.of_instance(ports, service).bytes, ports.leases.all()
    nodes = ports.nodes.list(silence_s=ports.settings.node_silence_s)
    rooms = {room.id: room for room in rooms_of(nodes)}
    for replica in replicas:
        count = most(replica, instances, each=each, rooms=rooms, leases=leases)
        if count < instances:
            why = refusal(replica, count, instances, each=each)
            raise NoRoom(f"{why.reason} {why.suggested_action}", instances=instances, room_for=count)


def _grows(replica: Replica, wanted: int) -> bool:
    return replica.desired is Desired.RUNNING and replica.device != CPU and replica.instances < wanted
