"""What one service lacks, before anybody has looked for room; and what follows once somebody has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.resources.fit import CPU, Need
from inference.resources.plan import Placement
from inference.serving import grow
from inference.serving.actions import (
    Action,
    AddReplica,
    DrainReplica,
    Explain,
    MoveService,
    RemoveReplica,
    ResizeReplica,
)
from inference.serving.model import MEANT_TO_RUN, Desired, Observed, Replica, Service, ServiceState
from inference.serving.place import NoPlace, needs_of
from inference.serving.world import World

MANY_RESTARTS = 3
ON_THE_WAY = frozenset({Observed.PENDING, Observed.STARTING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`needs`: the first `len(lost)` of them are for replicas that were lost with their node.

    `kept`: those that are meant to run. `drains`: what is done whatever room there is. `gives_way`: the replica of an
    earlier revision that goes first where there is no room beside it for its successor. `tight`: why a replica is
    smaller than it should be.
    """

    service: Service
    replicas: Sequence[Replica]
    kept: Sequence[Replica] = ()
    lost: Sequence[Replica] = ()
    needs: Sequence[Need] = ()
    drains: Sequence[Action] = ()
    gives_way: Replica | None = None
    tight: NoPlace | None = None


def clear(replicas: Iterable[Replica], world: World) -> list[Action]:
    """Drains what runs and removes what is gone."""
    actions: list[Action] = []
    for replica in replicas:
        if world.is_gone(replica):
            actions.append(RemoveReplica(replica_id=replica.id))
        elif replica.desired is Desired.RUNNING:
            actions.append(DrainReplica(replica_id=replica.id))
    return actions


def broken(service: Service, replicas: Sequence[Replica], world: World) -> MoveService | None:
    """The move to error when a model cannot be loaded and no replica works or may still work."""
    kept = [replica for replica in replicas if _is_meant_to_run(replica, world)]
    failed = [replica for replica in kept if replica.observed is Observed.FAILED]
    hopeful = [replica for replica in kept if replica.observed in ON_THE_WAY]
    if service.state not in MEANT_TO_RUN or not failed or hopeful or _ready(kept, world):
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


def wish(service: Service, replicas: Sequence[Replica], world: World) -> Wish:
    """More or fewer replicas; those of an earlier revision replaced, one new ready, then one old drained."""
    if service.state is ServiceState.PREEMPTED:
        # It comes back as a whole, when it has left as a whole.
        count = 0 if replicas else service.wanted_replicas
        needs = needs_of(service, count, now=world.now, card_bytes=world.card_bytes.get(service.id))
        return Wish(service=service, replicas=replicas, needs=needs)
    leaving = [replica for replica in replicas if replica.desired is Desired.STOPPED]
    kept = [replica for replica in replicas if _is_meant_to_run(replica, world)]
    stranded = [replica for replica in replicas if replica.desired is Desired.RUNNING and replica not in kept]
    want = service.wanted_replicas
    current = [replica for replica in kept if replica.revision == service.revision]
    old = [replica for replica in kept if replica.revision != service.revision]
    old_ready = _ready(old, world)
    # What is on a card that answers no more is not waited for: it fails job after job.
    broken_off = [*stranded, *(replica for replica in old if replica not in old_ready)]
    drains: list[Action] = [DrainReplica(replica_id=replica.id) for replica in broken_off]
    surplus = sorted(current, key=lambda replica: _worth(replica, world))[: max(0, len(current) - want)]
    drains += [DrainReplica(replica_id=replica.id) for replica in surplus]
    stay = [replica for replica in current if replica not in surplus]
    resizes, tight = _resizes(service, stay, world)
    drains += resizes
    too_many = len(old_ready) - max(0, want - len(_ready(current, world)))
    drains += [DrainReplica(replica_id=replica.id) for replica in old_ready[: max(0, too_many)]]
    lost = [replica for replica in stay if world.is_lost(replica)]
    missing = max(0, want - len(current))
    waiting = sum(replica.observed in ON_THE_WAY or replica in lost for replica in current)
    if old_ready:
        missing = min(missing, max(0, 1 - waiting))
    gives_way = old_ready and missing and too_many <= 0 and not waiting and not leaving
    # While an old replica serves, nobody is put out for its successor.
    size = {"card_bytes": world.card_bytes.get(service.id)}
    needs = needs_of(service, len(lost) + missing, now=world.now, may_evict=not old_ready, **size)
    return Wish(
        service=service,
        replicas=replicas,
        kept=kept,
        lost=lost,
        needs=needs,
        drains=drains,
        gives_way=old_ready[0] if gives_way else None,
        tight=tight,
    )


def _resizes(service: Service, replicas: Iterable[Replica], world: World) -> tuple[list[Action], NoPlace | None]:
    """In place; and why one does not get as many as it should."""
    wanted, each = service.wanted_instances, world.instance_bytes.get(service.id, 0)
    tight: NoPlace | None = None
    actions: list[Action] = []
    for replica in replicas:
        if replica.instances == wanted:
            continue
        count = grow.most(replica, wanted, each=each, rooms=world.room_of, leases=world.leases)
        if count < wanted:
            tight = tight or grow.refusal(replica, count, wanted, each=each)
        if count != replica.instances:
            is_more = count > replica.instances and replica.device != CPU
            size = count * each if is_more else 0
            actions.append(ResizeReplica(replica_id=replica.id, instances=count, card_bytes=size))
    return actions, tight


def settle(told: Wish, found: Sequence[Placement], trouble: NoPlace | None, world: World) -> list[Action]:
    """The actions for a service, given the places found for its needs and why the rest has none."""
    service = told.service
    leaving = [replica for replica in told.replicas if replica.desired is Desired.STOPPED]
    actions: list[Action] = clear(leaving, world)
    additions = _additions(told, found)
    if service.state is ServiceState.PREEMPTED:
        return clear(told.replicas, world) + _resume(told, additions)
    replaced = told.lost[: len(additions)]
    for number, addition in enumerate(additions):
        if number < len(replaced):
            actions.append(RemoveReplica(replica_id=replaced[number].id))
            actions.append(addition)
    actions += [*told.drains, *additions[len(replaced) :]]
    kept = [replica for replica in told.kept if replica not in replaced]
    if trouble is not None and told.gives_way is not None:
        # No room for one more: an old one goes first, and the service is one short for a moment.
        actions.append(DrainReplica(replica_id=told.gives_way.id))
        trouble = None
    if trouble is not None and not kept and not additions and (move := _preempted(service, leaving, world)):
        return [*actions, move]
    if service.state is ServiceState.DEPLOYING and (_ready(kept, world) or service.wanted_replicas == 0):
        actions.append(_running(service, len(_ready(kept, world))))
    return actions + _explain(service, kept, trouble or told.tight, world)


def _additions(told: Wish, found: Sequence[Placement]) -> list[Action]:
    service, taken = told.service, {replica.ordinal for replica in told.replicas}
    additions: list[Action] = []
    for placed in found:
        ordinal = next(number for number in range(len(taken) + 1) if number not in taken)
        taken.add(ordinal)
        additions.append(
            AddReplica(
                service_id=service.id,
                ordinal=ordinal,
                node_id=placed.holding.node_id,
                device=placed.holding.device,
                instances=service.wanted_instances,
                revision=service.revision,
                size=placed.size,
                victims=tuple(victim.id for victim in placed.victims),
            )
        )
    return additions


def _running(service: Service, count: int) -> MoveService:
    reason = f"{count} of {service.wanted_replicas} replicas ready" if count else "no replica is wanted"
    return MoveService(service_id=service.id, allowed=(ServiceState.DEPLOYING,), to=ServiceState.RUNNING, reason=reason)


def _resume(told: Wish, additions: Sequence[Action]) -> list[Action]:
    """A preempted service is deployed again as soon as one of its replicas has room."""
    service = told.service
    if told.replicas or (not additions and service.wanted_replicas):
        return []
    move = MoveService(
        service_id=service.id,
        allowed=(ServiceState.PREEMPTED,),
        to=ServiceState.DEPLOYING,
        reason="resumed: there is room again",
    )
    return [move, *additions]


def _preempted(service: Service, leaving: Sequence[Replica], world: World) -> MoveService | None:
    """The move of a running service that lost its last replica to another one; None where that was not the cause."""
    by = next((found for replica in leaving if (found := world.evictor(replica))), None)
    if by is None or service.state is not ServiceState.RUNNING:
        return None
    # Another tenant's names are none of this one's business.
    who = f"service {by.name} ({by.id})" if by.tenant_id == service.tenant_id else "another service"
    return MoveService(
        service_id=service.id,
        allowed=(ServiceState.RUNNING,),
        to=ServiceState.PREEMPTED,
        reason=f"preempted by {who}, whose priority {by.config.priority} is above {service.config.priority}",
        suggested_action="It comes back by itself when there is room. Raise its priority, or add a node, to have it "
        "back sooner; its tasks are kept.",
    )


def _is_meant_to_run(replica: Replica, world: World) -> bool:
    return replica.desired is Desired.RUNNING and not world.is_stranded(replica)


def _ready(replicas: Iterable[Replica], world: World) -> list[Replica]:
    return [replica for replica in replicas if replica.observed is Observed.READY and not world.is_lost(replica)]


def _worth(replica: Replica, world: World) -> tuple[bool, bool, int]:
    """Sort key: what failed goes first, then what is not ready, then the highest ordinal."""
    is_ready = replica.observed is Observed.READY and not world.is_lost(replica)
    return replica.observed is not Observed.FAILED, is_ready, -replica.ordinal


def _explain(service: Service, kept: Sequence[Replica], trouble: NoPlace | None, world: World) -> list[Action]:
    """Says what is wrong when that is news; what was said is taken back when nothing is wrong."""
    current = [replica for replica in kept if replica.revision == service.revision]
    found = (trouble.reason, trouble.suggested_action) if trouble else _trouble_of(current, world)
    if found is None:
        if service.suggested_action is None:
            return []
        return [Explain(service_id=service.id, reason=None, suggested_action=None)]
    if found == (service.reason, service.suggested_action):
        return []
    return [Explain(service_id=service.id, reason=found[0], suggested_action=found[1])]


def _trouble_of(replicas: Iterable[Replica], world: World) -> tuple[str, str] | None:
    """The reason and advice of the first replica that is ill or waits; one that ended once or twice is not ill."""
    for replica in replicas:
        why = replica.reason or "the model could not be loaded"
        if replica.observed is Observed.FAILED:
            advice = "Other replicas serve meanwhile. Correct the cause, then restart the service."
            return f"Replica {replica.ordinal} does not run: {why}", advice
        if world.waits_for(replica):
            advice = "Nothing needs to be done: their running batches end first."
            return f"Replica {replica.ordinal} waits until replicas of lower priority have left their room.", advice
        if replica.observed in ON_THE_WAY and replica.load_failures:
            advice = "It is tried again. Should it stay so, correct the model or the service's config."
            return f"Replica {replica.ordinal} has not loaded the model yet: {why}", advice
        if replica.observed in ON_THE_WAY and replica.restarts >= MANY_RESTARTS and replica.reason:
            advice = f"See logs/worker-{replica.service_id}.{replica.ordinal}.log in the data folder of its node."
            return f"Replica {replica.ordinal} keeps ending: {why}", advice
    return None
