"""Quotas bind the autoscaler, too: what it wants beyond its tenant's is cut down, and said so."""

import dataclasses

from inference.scaling.act import target_of
from inference.scaling.ports import ScalingPorts, Target
from inference.serving.model import Service


def within_quota(ports: ScalingPorts, service: Service, target: Target, *, wanted: int) -> tuple[Target, str]:
    """The target that the tenant may have, and the end of the reason; empty where that is the one it was.

    `wanted`: instances of the whole service. Nothing is asked for a target that does not grow. A service without an
    autoscaler comes back with the size of its config, or not at all.
    """
    scaling = service.config.auto_scaling
    asked = service.config.replicas if target.replicas is None else target.replicas
    allowed = ports.allowed(service) if asked > service.wanted_replicas else None
    if allowed is None or asked <= allowed.replicas:
        return target, ""
    words = f"; more replicas were wanted, {allowed.words}"
    if not allowed.replicas or not scaling.enabled:
        return Target(replicas=0, instances=target.instances), words
    lowest = min(scaling.min_replicas, allowed.replicas)
    narrowed = dataclasses.replace(scaling, min_replicas=lowest, max_replicas=allowed.replicas)
    return target_of(wanted, narrowed), words
