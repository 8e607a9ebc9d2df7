"""Turns services into replica rows: what is wanted and what is there in, actions out; then the actions done.

Any number of reconcilers may run at once: each action is fenced by its row, and a doubled one changes nothing.
"""

from collections.abc import Sequence

import structlog

from inference.ids import new_id
from inference.resources import plan as planner
from inference.resources.fit import Where
from inference.resources.leases import Ask, Lease
from inference.serving import card_memory, cards_away, grow
from inference.serving.actions import (
    Action,
    AddReplica,
    DrainReplica,
    Explain,
    MoveService,
    ReleaseLease,
    RemoveReplica,
    ResizeReplica,
)
from inference.serving.model import MEANT_TO_RUN, Desired, Node, Observed, Replica, Service, ServiceState
from inference.serving.place import explain
from inference.serving.ports import ServingPorts
from inference.serving.wish import Wish, broken, clear, settle, wish
from inference.serving.world import Rows, World, size_held
from inference.settings import ServingSettings
from inference.telemetry import metrics

log = structlog.get_logger(__name__)

ROUNDS = 5
LOOKS_FOR_ROOM = MEANT_TO_RUN | {ServiceState.PREEMPTED}


def run(ports: ServingPorts) -> int:
    """Plans and acts until nothing is left to do now; how many actions were done. Raises StoreUnavailable."""
    done = 0
    for _ in range(ROUNDS):
        # Replicas first: one whose service is then not among the watched belongs to a deleted service.
        replicas = ports.replicas.all()
        leases = ports.leases.all()
        services = ports.services.watched()
        if not services and not replicas and not leases:
            return done
        nodes = ports.nodes.list(silence_s=ports.settings.node_silence_s)
        rows = Rows(
            services=services,
            replicas=replicas,
            nodes=nodes,
            leases=leases,
            now=ports.leases.now(),
            card_bytes=card_memory.of_hungry(ports, services, replicas, nodes),
            instance_bytes=grow.bytes_each(ports, services, replicas),
            away=cards_away.of_waiting(ports, services, replicas, nodes),
        )
        world = World(rows, ports.settings)
        for replica in world.unleased():
            ports.leases.adopt(_ask(replica, world))
        actions = _plan(services, replicas, world)
        if not actions:
            return done
        for action in actions:
            _act(ports, action)
        done += len(actions)
    return done


def plan(
    services: Sequence[Service],
    replicas: Sequence[Replica],
    nodes: Sequence[Node],
    leases: Sequence[Lease] = (),
    *,
    now: float = 0.0,
    settings: ServingSettings = ServingSettings(),  # noqa: B008
) -> list[Action]:
    """What brings the replicas closer to what the services want. Pure; an empty list means settled."""
    rows = Rows(services=services, replicas=replicas, nodes=nodes, leases=leases, now=now)
    return _plan(services, replicas, World(rows, settings))


def _plan(services: Sequence[Service], replicas: Sequence[Replica], world: World) -> list[Action]:
    """First what each service lacks, then room for all of them at once, then what follows for each."""
    mine: dict[str, list[Replica]] = {service.id: [] for service in services}
    strays: list[Replica] = []
    for replica in replicas:
        mine.get(replica.service_id, strays).append(replica)
    actions: list[Action] = [ReleaseLease(replica_id=replica_id) for replica_id in world.orphans()]
    actions += clear(strays, world)
    wishes: dict[str, Wish] = {}
    for service in services:
        if move := broken(service, mine[service.id], world):
            actions += [*clear(mine[service.id], world), move]
        elif service.state in LOOKS_FOR_ROOM:
            wishes[service.id] = wish(service, mine[service.id], world)
        else:
            actions += _wind_down(service, mine[service.id], world)
    needs = [need for told in wishes.values() for need in told.needs]
    found = planner.plan(world.rooms, world.holdings() if needs else (), needs, world.limits)
    for told in wishes.values():
        actions += _settle(told, found, world)
    # What is gone makes room for what is added.
    return sorted(actions, key=lambda action: not isinstance(action, ReleaseLease | RemoveReplica))


def _settle(told: Wish, found: planner.Plan, world: World) -> list[Action]:
    placed = [found.placed[need.id] for need in told.needs if need.id in found.placed]
    refused = [need for need in told.needs if need.id in found.refused]
    trouble = explain(refused[0], found.refused[refused[0].id], found.board) if refused else None
    if trouble is not None and refused[0].where is Where.CARD:
        trouble = cards_away.named(trouble, world.away)
    return settle(told, placed, trouble, world)


def _wind_down(service: Service, replicas: Sequence[Replica], world: World) -> list[Action]:
    actions = clear(replicas, world)
    if not replicas and service.state is ServiceState.STOPPING:
        actions.append(
            MoveService(
                service_id=service.id,
                allowed=(ServiceState.STOPPING,),
                to=ServiceState.STOPPED,
                reason="all replicas are gone",
            )
        )
    return actions


def _act(ports: ServingPorts, action: Action) -> None:
    """One action. What another reconciler or a person changed meanwhile is left to the next round."""
    match action:
        case AddReplica():
            _add(ports, action)
        case DrainReplica():
            ports.replicas.set_desired(action.replica_id, Desired.STOPPED)
            log.info("replica_draining", replica_id=action.replica_id)
        case ResizeReplica():
            if ports.replicas.set_instances(action.replica_id, action.instances, card_bytes=action.card_bytes):
                log.info("replica_resized", replica_id=action.replica_id, instances=action.instances)
        case RemoveReplica():
            ports.replicas.delete(action.replica_id)
            log.info("replica_removed", replica_id=action.replica_id)
        case ReleaseLease():
            if ports.leases.release_orphan(action.replica_id):
                log.info("lease_released", replica_id=action.replica_id)
        case MoveService():
            moved = ports.services.move(
                None,
                action.service_id,
                allowed=action.allowed,
                to=action.to,
                reason=action.reason,
                suggested_action=action.suggested_action,
            )
            if moved:
                log.info("service_moved", service_id=moved.id, state=moved.state.value, reason=action.reason)
        case Explain():
            ports.services.explain(action.service_id, reason=action.reason, suggested_action=action.suggested_action)


def _add(ports: ServingPorts, action: AddReplica) -> None:
    replica = _new_replica(action)
    ask = Ask(
        replica_id=replica.id,
        service_id=replica.service_id,
        node_id=replica.node_id,
        device=replica.device,
        size=action.size,
        victims=action.victims,
    )
    if not ports.replicas.insert(replica, ask):
        metrics.places_lost.inc()
        log.info("place_lost", service_id=action.service_id, node_id=action.node_id, device=action.device)
        return
    log.info("replica_added", service_id=action.service_id, ordinal=action.ordinal, node_id=action.node_id)
    if action.victims:
        metrics.evictions.labels(action.service_id).inc(len(action.victims))
    for victim in action.victims:
        log.info("replica_evicted", replica_id=victim, for_service_id=action.service_id)


def _ask(replica: Replica, world: World) -> Ask:
    """A lease after the fact."""
    return Ask(
        replica_id=replica.id,
        service_id=replica.service_id,
        node_id=replica.node_id,
        device=replica.device,
        size=size_held(replica, world.services, world.rooms),
    )


def _new_replica(action: AddReplica) -> Replica:
    return Replica(
        id=new_id(),
        service_id=action.service_id,
        ordinal=action.ordinal,
        node_id=action.node_id,
        device=action.device,
        desired=Desired.RUNNING,
        observed=Observed.PENDING,
        generation=0,
        revision=action.revision,
        instances=action.instances,
        instances_ready=0,
        load_failures=0,
        restarts=0,
    )
