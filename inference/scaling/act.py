"""From a number of instances to replicas and instances of each, and from a config to what a policy may answer. Pure."""

import dataclasses
import math
from collections.abc import Sequence

from inference.scaling.model import Limits, Memory, Schedule
from inference.scaling.ports import Target
from inference.serving.model import AutoScaling, Desired, Replica, Service

PATIENCE_S = 5.0
"""How long a target may stay unmet, for want of a place, until no more is asked for than is there."""


def target_of(wanted: int, scaling: AutoScaling) -> Target:
    """The fewest replicas that hold so many instances, and these spread evenly: instances of one replica share its
    device and its memory, and come and go without a new process.
    """
    if wanted <= 0 and scaling.min_replicas == 0:
        return Target(replicas=0, instances=max(1, scaling.min_instances))
    most = max(1, scaling.max_instances)
    replicas = min(max(math.ceil(wanted / most), scaling.min_replicas, 1), max(1, scaling.max_replicas))
    instances = min(max(math.ceil(wanted / replicas), scaling.min_instances, 1), most)
    return Target(replicas=replicas, instances=instances)


def limits_of(service: Service, *, room: int | None = None, affordable: int | None = None) -> Limits:
    """What a policy may answer for this service, in instances of all its replicas."""
    scaling = service.config.auto_scaling
    return Limits(
        min_instances=scaling.min_replicas * scaling.min_instances,
        max_instances=scaling.max_replicas * scaling.max_instances,
        objective_s=scaling.objective_s,
        hold_down_s=scaling.hold_down_s,
        room=room,
        affordable=affordable,
        cpu_out=scaling.target_cpu_utilization / 100,
        schedules=tuple(
            Schedule(
                cron=str(entry["cron"]),
                min_instances=int(entry["min_replicas"]) * scaling.min_instances,
                duration_s=float(entry.get("duration_s", 3600.0)),
            )
            for entry in scaling.schedules
        ),
    )


def began(service: Service, memory: Memory) -> Memory:
    """The memory of a service that was started with the size of its config: that size holds as any need does.

    Without it a service that may rest would be sent to rest before its first instance is there.
    """
    if service.started_at is None:
        return memory
    size = service.config.replicas * service.config.instances
    larger = tuple((at, n) for at, n in memory.needs if n > size)
    marks = {"wanted": float(size), "calm_since_s": service.started_at} | dict(memory.marks)
    return dataclasses.replace(memory, needs=(*larger, (service.started_at, size)), marks=marks)


def placed(replicas: Sequence[Replica]) -> int:
    """Instances that have a place, whether they are ready or not."""
    return sum(replica.instances for replica in replicas if replica.desired is Desired.RUNNING)


def room_for(service: Service, replicas: Sequence[Replica], *, unmet_s: float) -> int | None:
    """As many as have a place, once it is known that no more get one; None while nobody has said so."""
    is_refused = service.suggested_action is not None and unmet_s >= PATIENCE_S
    has = placed(replicas)
    return has if is_refused and has < service.wanted_replicas * service.wanted_instances else None
