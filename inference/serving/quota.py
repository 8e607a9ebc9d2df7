"""How much of the pool the services of one tenant may be meant to hold together."""

from collections.abc import Iterable
from dataclasses import dataclass

from inference.access.model import Limits, Scope
from inference.errors import QuotaExceeded
from inference.serving.model import MEANT_TO_RUN, Service, ServiceConfig, ServiceState
from inference.serving.ports import ServingPorts

MOST_SERVICES = 100_000
RETRY_S = 60
COUNTED = MEANT_TO_RUN | {ServiceState.PREEMPTED}
"""A preempted service comes back by itself."""

_WORDS = {
    "replicas": "replicas",
    "gpus": "replicas that ask for a GPU",
    "gpu_memory_bytes": "bytes of GPU memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What services are meant to hold. `gpus`: replicas that ask for a GPU, alone or not.

    `gpu_memory_bytes`: what is asked for; a replica with a card for itself counts among `gpus` alone.
    """

    replicas: int = 0
    gpus: int = 0
    gpu_memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """So many replicas of a service, and which quota says so."""

    replicas: int
    words: str


def require_room(
    ports: ServingPorts, *, scope: Scope, limits: Limits, service_id: str, config: ServiceConfig, replicas: int
) -> None:
    """Raises QuotaExceeded if the tenant may not have this service at that size beside what it has already.

    `limits`: the tenant's. What does not grow is never refused, also above a limit that was lowered. Two calls at the
    same instant may both pass.
    """
    if limits.replicas is None and limits.gpus is None and limits.gpu_memory_bytes is None:
        return
    services = ports.services.list(Scope(scope.tenant_id), limit=MOST_SERVICES)
    counted = [one for one in services if one.state in COUNTED]
    others = _total(amount_of(one.config, one.wanted_replicas) for one in counted if one.id != service_id)
    before = _total(amount_of(one.config, one.wanted_replicas) for one in counted if one.id == service_id)
    after = amount_of(config, replicas)
    for quota, words in _WORDS.items():
        limit, more = getattr(limits, quota), getattr(after, quota)
        if limit is None or more <= getattr(before, quota) or getattr(others, quota) + more <= limit:
            continue
        used = getattr(others, quota)
        raise QuotaExceeded(
            f"This tenant may have {limit} {words}; its other services have {used}, and this one asks for {more}. "
            "Stop or scale in a service, or have the limit raised.",
            of="tenant",
            quota=quota,
            limit=limit,
            used=used,
            retry_after_s=RETRY_S,
        )


def most_replicas(ports: ServingPorts, *, limits: Limits, service: Service) -> Allowed | None:
    """What the service may grow to beside its tenant's others, never less than it has; None where no limit says."""
    if limits.replicas is None and limits.gpus is None and limits.gpu_memory_bytes is None:
        return None
    services = ports.services.list(Scope(service.tenant_id), limit=MOST_SERVICES)
    others = _total(
        amount_of(one.config, one.wanted_replicas) for one in services if one.state in COUNTED and one.id != service.id
    )
    each = amount_of(service.config, 1)
    caps = [
        Allowed(
            replicas=max(service.wanted_replicas, (limit - getattr(others, quota)) // getattr(each, quota)),
            words=f"its tenant may have {limit} {words} in all",
        )
        for quota, words in _WORDS.items()
        if (limit := getattr(limits, quota)) is not None and getattr(each, quota)
    ]
    return min(caps, key=lambda cap: cap.replicas, default=None)


def amount_of(config: ServiceConfig, replicas: int) -> Amount:
    """What so many replicas of a service are meant to hold."""
    wants = config.requirements
    has_card = bool(wants.gpu or wants.gpu_memory_bytes)
    return Amount(
        replicas=replicas,
        gpus=replicas if has_card else 0,
        gpu_memory_bytes=replicas * wants.gpu_memory_bytes,
    )


def _total(amounts: Iterable[Amount]) -> Amount:
    listed = list(amounts)
    return Amount(
        replicas=sum(one.replicas for one in listed),
        gpus=sum(one.gpus for one in listed),
        gpu_memory_bytes=sum(one.gpu_memory_bytes for one in listed),
    )
