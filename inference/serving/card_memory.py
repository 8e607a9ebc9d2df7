"""What replicas take of a card when the config of their service does not say: as measured, else as estimated."""

from collections import Counter
from collections.abc import Iterable, Sequence

from inference.errors import ModelNotFound
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
        if there[service.id, service.revision] < service.wanted_replicas and _is_open(service)
        if (size := _replica_bytes(ports, service))
    }


def _is_open(service: Service) -> bool:
    """Whether it may share a card, and does not say how much of it."""
    wants = service.config.requirements
    size = size_of(wants)
    return not size.is_whole and not size.card_bytes and where_of(wants, service.config.provider) is not Where.CPU


def _replica_bytes(ports: ServingPorts, service: Service) -> int:
    """For as many instances as it may come to have where it is."""
    try:
        model = ports.models.get(service.tenant_id, service.model_id)
    except ModelNotFound:
        return 0
    profiles = ports.profiles.of_model(service.model_id)
    one = memory.per_instance(model, profiles, service.config, on_card=True)
    scaling = service.config.auto_scaling
    most = scaling.max_instances if scaling.enabled else 0
    return one.bytes * max(service.wanted_instances, most)
