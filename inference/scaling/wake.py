"""Work for a service that rests: it is given instances at once, whatever the policy will say of them later."""

from collections.abc import Sequence

import structlog

from inference.scaling.act import target_of
from inference.scaling.cap import within_quota
from inference.scaling.ports import ScalingPorts, Target
from inference.serving.model import Service
from inference.telemetry import metrics

log = structlog.get_logger(__name__)

POLICY = "wake"


def run(ports: ScalingPorts, resting: Sequence[Service]) -> set[str]:
    """The ids of those that were woken. Any number of processes may do so at once. Raises StoreUnavailable."""
    if not resting:
        return set()
    ids = [service.id for service in resting]
    glances, predictions = ports.store.glances(ids), ports.predictions(ids)
    woken = set[str]()
    for service in resting:
        glance, waiting = glances.get(service.id), predictions.get(service.id, 0)
        if not waiting and not (glance and glance.waits):
            continue
        reason = "a prediction waits" if waiting else "a job waits"
        size, limit = within_quota(ports, service, target_for(service), wanted=1)
        now = service.config.replicas if size.replicas is None else size.replicas
        words = f"0 -> {now}: {reason}{limit}"
        if words == service.target_reason:
            continue  # it was said when the quota first kept it at rest
        if ports.store.decide(service, size, policy=POLICY, reason=words, signals="{}") and size.replicas != 0:
            log.info("service_woken", service_id=service.id, reason=reason)
            metrics.scaling_decisions.labels(service.id, "out").inc()
            woken.add(service.id)
    return woken


def target_for(service: Service) -> Target:
    """One instance, and more when the policy has looked; without a policy what the config says."""
    scaling = service.config.auto_scaling
    if not scaling.enabled:
        return Target(replicas=None, instances=None)
    return target_of(1, scaling)
