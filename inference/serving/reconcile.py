"""Turns services into replica rows: what is wanted and what is there in, actions out; then the actions done.

Any number of reconcilers may run at once: each action is fenced by its row, and a doubled one changes nothing.
"""

from collections.abc import Iterable, Sequence

import structlog

from inference.ids import new_id
from inference.serving.actions import (
    Action,
    AddReplica,
    DrainReplica,
    Explain,
    MoveService,
    RemoveReplica,
    ResizeReplica,
)
from inference.serving.model import (
    MEANT_TO_RUN,
    Desired,
    Node,
    Observed,
    Replica,
    Requirements,
    Service,
    ServiceState,
)
from inference.serving.place import NoPlace, Reservation, need_of, place
from inference.serving.ports import ServingPorts

log = structlog.get_logger(__name__)

ROUNDS = 5
MANY_RESTARTS = 3
GONE = frozenset({Observed.PENDING, Observed.STOPPED, Observed.FAILED})
ON_THE_WAY = frozenset({Observed.PENDING, Observed.STARTING})


def run(ports: ServingPorts) -> int:
    """Plans and acts until nothing is left to do now; how many actions were done. Raises StoreUnavailable."""
    done = 0
    for _ in range(ROUNDS):
        # Replicas first: one whose service is then not among the watched belongs to a deleted service.
        replicas = ports.replicas.all()
        services = ports.services.watched()
        if not services and not replicas:
            return done
        nodes = ports.nodes.list(silence_s=ports.settings.node_silence_s)
        actions = plan(services, replicas, nodes)
        if not actions:
            return done
        for action in actions:
            _act(ports, action)
        done += len(actions)
    return done


def plan(services: Sequence[Service], replicas: Sequence[Replica], nodes: Sequence[Node]) -> list[Action]:
    """What brings the replicas closer to what the services want. Pure; an empty list means settled."""
    mine: dict[str, list[Replica]] = {service.id: [] for service in services}
    orphans: list[Replica] = []
    for replica in replicas:
        mine.get(replica.service_id, orphans).append(replica)
    board = _Board(services, replicas, nodes)
    actions: list[Action] = _clear(orphans, board)
    for service in services:
        if service.state in MEANT_TO_RUN:
            actions += _keep_running(service, mine[service.id], board)
        else:
            actions += _wind_down(service, mine[service.id], board)
    return actions


class _Board:
    """Who is alive and what is taken, kept up to date while one plan is made."""

    def __init__(self, services: Iterable[Service], replicas: Sequence[Replica], nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self._alive = frozenset(node.id for node in nodes if node.is_alive)
        self._needs = {service.id: need_of(service.id, service.config) for service in services}
        self._held = {replica.id: self._reservation(replica) for replica in replicas if not self.is_gone(replica)}
        self._new: list[Reservation] = []

    def is_lost(self, replica: Replica) -> bool:
        """Its node is silent: nobody can say what runs there."""
        return replica.node_id not in self._alive

    def is_gone(self, replica: Replica) -> bool:
        """Nothing runs behind this row, and nothing will."""
        return replica.desired is Desired.STOPPED and (replica.observed in GONE or self.is_lost(replica))

    def find(self, service: Service, *, instead_of: Replica | None = None) -> "tuple[str, str] | NoPlace":
        """A place for one more replica, which is then taken."""
        held = [held for replica_id, held in self._held.items() if instead_of is None or replica_id != instead_of.id]
        found = place(self._needs[service.id], self.nodes, [*held, *self._new])
        if isinstance(found, NoPlace):
            return found
        if instead_of is not None:
            self._held.pop(instead_of.id, None)
        self._new.append(
            Reservation(
                service_id=service.id,
                node_id=found.node_id,
                device=found.device,
                requirements=service.config.requirements,
            )
        )
        return found.node_id, found.device

    def _reservation(self, replica: Replica) -> Reservation:
        need = self._needs.get(replica.service_id)
        return Reservation(
            service_id=replica.service_id,
            node_id=replica.node_id,
            device=replica.device,
            requirements=need.requirements if need else Requirements(),
        )


def _clear(replicas: Iterable[Replica], board: _Board) -> list[Action]:
    """Drains what runs and removes what is gone."""
    actions: list[Action] = []
    for replica in replicas:
        if board.is_gone(replica):
            actions.append(RemoveReplica(replica_id=replica.id))
        elif replica.desired is Desired.RUNNING:
            actions.append(DrainReplica(replica_id=replica.id))
    return actions


def _wind_down(service: Service, replicas: Sequence[Replica], board: _Board) -> list[Action]:
    actions = _clear(replicas, board)
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


def _keep_running(service: Service, replicas: Sequence[Replica], board: _Board) -> list[Action]:
    leaving = [replica for replica in replicas if replica.desired is Desired.STOPPED]
    kept = [replica for replica in replicas if replica.desired is Desired.RUNNING]
    if broken := _broken(service, kept, board):
        return [*_clear(replicas, board), broken]
    taken = {replica.ordinal for replica in replicas}
    actions = _clear(leaving, board)
    moved, trouble = _move_lost(service, kept, board, taken)
    actions += moved
    gone = {action.replica_id for action in moved if isinstance(action, RemoveReplica)}
    kept = [replica for replica in kept if replica.id not in gone]
    resized, no_room = _resize(service, kept, board, taken, on_the_way=len(gone), is_draining=bool(leaving))
    actions += resized
    if service.state is ServiceState.DEPLOYING and (_ready(kept, board) or service.wanted_replicas == 0):
        count = len(_ready(kept, board))
        reason = f"{count} of {service.wanted_replicas} replicas ready" if count else "no replica is wanted"
        actions.append(
            MoveService(
                service_id=service.id, allowed=(ServiceState.DEPLOYING,), to=ServiceState.RUNNING, reason=reason
            )
        )
    return actions + _explain(service, kept, trouble or no_room)


def _ready(replicas: Iterable[Replica], board: _Board) -> list[Replica]:
    return [replica for replica in replicas if replica.observed is Observed.READY and not board.is_lost(replica)]


def _broken(service: Service, kept: Sequence[Replica], board: _Board) -> MoveService | None:
    """The move to error when a model cannot be loaded and no replica works or may still work."""
    failed = [replica for replica in kept if replica.observed is Observed.FAILED]
    hopeful = [replica for replica in kept if replica.observed in ON_THE_WAY]
    if not failed or hopeful or _ready(kept, board):
        return None
    current = [replica for replica in failed if replica.revision == service.revision]
    if not current:
        return None
    return MoveService(
        service_id=service.id,
        allowed=tuple(MEANT_TO_RUN),
        to=ServiceState.ERROR,
        reason=current[0].reason or "the model could not be loaded",
        suggested_action="Correct the model or the service's config, then start the service again.",
    )


def _move_lost(
    service: Service, kept: Sequence[Replica], board: _Board, taken: set[int]
) -> "tuple[list[Action], NoPlace | None]":
    """Replicas of silent nodes begin elsewhere, if there is an elsewhere; if not, they wait for their node."""
    actions: list[Action] = []
    trouble: NoPlace | None = None
    for replica in kept:
        if not board.is_lost(replica):
            continue
        found = board.find(service, instead_of=replica)
        if isinstance(found, NoPlace):
            trouble = found
            continue
        actions += [RemoveReplica(replica_id=replica.id), _addition(service, found, taken)]
    return actions, trouble


def _addition(service: Service, found: tuple[str, str], taken: set[int]) -> AddReplica:
    ordinal = next(number for number in range(len(taken) + 1) if number not in taken)
    taken.add(ordinal)
    return AddReplica(
        service_id=service.id,
        ordinal=ordinal,
        node_id=found[0],
        device=found[1],
        instances=service.wanted_instances,
        revision=service.revision,
    )


def _resize(
    service: Service, kept: Sequence[Replica], board: _Board, taken: set[int], *, on_the_way: int, is_draining: bool
) -> "tuple[list[Action], NoPlace | None]":
    """More or fewer replicas, and those of an earlier revision replaced: one new ready, then one old drained."""
    want = service.wanted_replicas
    current = [replica for replica in kept if replica.revision == service.revision]
    old = [replica for replica in kept if replica.revision != service.revision]
    old_ready = _ready(old, board)
    actions: list[Action] = [DrainReplica(replica_id=replica.id) for replica in old if replica not in old_ready]
    surplus = sorted(current, key=lambda replica: _worth(replica, board))[: max(0, len(current) + on_the_way - want)]
    actions += [DrainReplica(replica_id=replica.id) for replica in surplus]
    stay = {replica.id for replica in current} - {replica.id for replica in surplus}
    actions += [
        ResizeReplica(replica_id=replica.id, instances=service.wanted_instances)
        for replica in current
        if replica.id in stay and replica.instances != service.wanted_instances
    ]
    too_many = len(old_ready) - max(0, want - len(_ready(current, board)))
    actions += [DrainReplica(replica_id=replica.id) for replica in old_ready[: max(0, too_many)]]
    waiting = on_the_way + sum(replica.observed in ON_THE_WAY for replica in current)
    missing = max(0, want - len(current) - on_the_way)
    if old_ready:
        missing = min(missing, max(0, 1 - waiting))
    for _ in range(missing):
        found = board.find(service)
        if isinstance(found, NoPlace):
            if old_ready and too_many <= 0 and not waiting and not is_draining:
                # No room for one more: an old one goes first, and the service is one short for a moment.
                actions.append(DrainReplica(replica_id=old_ready[0].id))
                return actions, None
            return actions, found
        actions.append(_addition(service, found, taken))
    return actions, None


def _worth(replica: Replica, board: _Board) -> tuple[bool, bool, int]:
    """Sort key: what failed goes first, then what is not ready, then the highest ordinal."""
    is_ready = replica.observed is Observed.READY and not board.is_lost(replica)
    return replica.observed is not Observed.FAILED, is_ready, -replica.ordinal


def _explain(service: Service, kept: Sequence[Replica], trouble: NoPlace | None) -> list[Action]:
    """Says what is wrong when that is news; what was said is taken back when nothing is wrong."""
    current = [replica for replica in kept if replica.revision == service.revision]
    found = (trouble.reason, trouble.suggested_action) if trouble else _trouble_of(current)
    if found is None:
        if service.suggested_action is None:
            return []
        return [Explain(service_id=service.id, reason=None, suggested_action=None)]
    if found == (service.reason, service.suggested_action):
        return []
    return [Explain(service_id=service.id, reason=found[0], suggested_action=found[1])]


def _trouble_of(replicas: Iterable[Replica]) -> tuple[str, str] | None:
    """The reason and advice of the first replica that is ill; one that ended once or twice is not."""
    for replica in replicas:
        why = replica.reason or "the model could not be loaded"
        if replica.observed is Observed.FAILED:
            advice = "Other replicas serve meanwhile. Correct the cause, then restart the service."
            return f"Replica {replica.ordinal} does not run: {why}", advice
        if replica.observed in ON_THE_WAY and replica.load_failures:
            advice = "It is tried again. Should it stay so, correct the model or the service's config."
            return f"Replica {replica.ordinal} has not loaded the model yet: {why}", advice
        if replica.observed in ON_THE_WAY and replica.restarts >= MANY_RESTARTS and replica.reason:
            advice = f"See logs/worker-{replica.service_id}.{replica.ordinal}.log in the data folder of its node."
            return f"Replica {replica.ordinal} keeps ending: {why}", advice
    return None


def _act(ports: ServingPorts, action: Action) -> None:
    """One action. What another reconciler or a person changed meanwhile is left to the next round."""
    match action:
        case AddReplica():
            ports.replicas.insert(_new_replica(action))
            log.info("replica_added", service_id=action.service_id, ordinal=action.ordinal, node_id=action.node_id)
        case DrainReplica():
            ports.replicas.set_desired(action.replica_id, Desired.STOPPED)
            log.info("replica_draining", replica_id=action.replica_id)
        case ResizeReplica():
            ports.replicas.set_instances(action.replica_id, action.instances)
            log.info("replica_resized", replica_id=action.replica_id, instances=action.instances)
        case RemoveReplica():
            ports.replicas.delete(action.replica_id)
            log.info("replica_removed", replica_id=action.replica_id)
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
