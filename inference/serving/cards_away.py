"""Cards on which nothing can be placed now, though their nodes live: named to who waits for one."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from inference.resources.fit import CPU, Where
from inference.resources.model import DeviceState
from inference.serving.model import MEANT_TO_RUN, Desired, Node, Replica, Service, ServiceState
from inference.serving.place import NoPlace, where_of
from inference.serving.ports import ServingPorts

NAMED = 3


def of_nodes(nodes: Iterable[Node]) -> Mapping[str, frozenset[str]]:
    """The devices of each living node that work may be on; a node that has told of none yet is left out."""
    return {
        node.id: frozenset((CPU, *(str(gpu["uuid"]) for gpu in node.inventory["gpus"])))
        for node in nodes
        if node.is_alive and "gpus" in node.inventory
    }


def of_waiting(
    ports: ServingPorts, services: Iterable[Service], replicas: Iterable[Replica], nodes: Sequence[Node]
) -> Sequence[str]:
    """The lost and gone ones in words, when a service lacks a replica that needs a card; else nothing is read."""
    there = of_nodes(nodes)
    has: dict[str, int] = {}
    for one in replicas:
        if one.desired is Desired.RUNNING and one.device in there.get(one.node_id, (one.device,)):
            has[one.service_id] = has.get(one.service_id, 0) + 1
    if not any(_waits_for_card(service, has.get(service.id, 0)) for service in services):
        return ()
    seen = ports.devices.list(silence_s=ports.settings.node_silence_s)
    return [
        f"GPU {one.device.uuid} of node {one.node_id} is {one.device.state.value}"
        for one in seen
        if one.is_alive and one.device.state is not DeviceState.OK
    ]


def named(trouble: NoPlace, away: Sequence[str]) -> NoPlace:
    """The same, with the cards whose return would help."""
    if not away:
        return trouble
    more = f", and {len(away) - NAMED} more are away" if len(away) > NAMED else ""
    return dataclasses.replace(
        trouble,
        reason=f"{trouble.reason} {', '.join(away[:NAMED])}{more}.",
        suggested_action=f"Bring that GPU back (reset it, or restart its host). Or: {trouble.suggested_action}",
    )


def _waits_for_card(service: Service, has: int) -> bool:
    is_meant = service.state in MEANT_TO_RUN or service.state is ServiceState.PREEMPTED
    wants = service.config.requirements
    return is_meant and has < service.wanted_replicas and where_of(wants, service.config.provider) is Where.CARD
