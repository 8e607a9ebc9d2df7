"""What replicas take of a card when the config of their service does not say: as measured, else as estimated."""

from collections import Counter
from collections.abc import Iterable, Sequence

from inference.errors import ModelNotFound
from inference.resources.estimate import UNKNOWN, MemoryNeed, is_guess
from inference.resources.fit import Where
from inference.serving import memory
from inference.serving.model import Desired, Node, Replica, Service
from inference.serving.place import size_of, where_of
from inference.serving.ports import ServingPorts


def of_hungry(
    ports: ServingPorts, services: Iterable[Service], replicas: Iterable[Replica], nodes: Sequence[Node]
) -> dict[str, int]:
    """Bytes of a card for one replica, by service: of those that lack replicas, and of which anything is known.

    Nothing is read while everybody has what it wants, or where there are no cards.
    """
    if not any(node.inventory.get("gpus") for node in nodes if node.is_alive):
        return {}
    alive = {node.id for node in nodes if node.is_alive}
    there = Counter(
        (one.service_id, one.revision) for one in replicas if one.desired is Desired.RUNNING and one.node_id in alive
    )
    return {
        service.id: size
        for service in services
        if there[service.id, service.revision] < service.wanted_replicas and _shares(service)
        if (size := _replica_bytes(ports, service))
    }


def of_instance(ports: ServingPorts, service: Service) -> MemoryNeed:
    """What one instance of the service takes of a card."""
    try:
        model = ports.models.get(service.tenant_id, service.model_id)
    except ModelNotFound:
        return UNKNOWN
    return memory.per_instance(model, ports.profiles.of_model(service.model_id), service.config, on_card=True)


def _shares(service: Service) -> bool:
    """Whether it may be on a card beside others, and what is known of its model makes a difference there."""
    wants = service.config.requirements
    size = size_of(wants)
    if size.is_whole or where_of(wants, service.config.provider) is Where.CPU:
        return False
    return not size.card_bytes or service.wanted_instances > 1


def _replica_bytes(ports: ServingPorts, service: Service) -> int:
    """For as many instances as it may come to have where it is. Who says how much it wants gets more only if the
    instances it has were measured to take more.
    """
    one, asked = of_instance(ports, service), service.config.requirements.gpu_memory_bytes
    if asked:
        return 0 if is_guess(one) else max(asked, one.bytes * service.wanted_instances)
    scaling = service.config.auto_scaling
    most = scaling.max_instances if scaling.enabled else 0
    return one.bytes * max(service.wanted_instances, most)
