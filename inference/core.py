"""The core as an entry point holds it: one bundle of ports per room."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inference.errors import StoreUnavailable
from inference.jobs.ports import JobPorts
from inference.registry.ports import RegistryPorts
from inference.serving.ports import ServingPorts
from inference.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """`close` ends threads and connections; call it once, at the end. `ping_store`/`ping_redis` raise when ill."""

    settings: Settings
    jobs: JobPorts
    serving: ServingPorts
    registry: RegistryPorts
    ping_store: Callable[[], None]
    ping_redis: Callable[[], None]
    close: Callable[[], None]


def figures(core: Core) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """What `telemetry.metrics.render` reads from the store at a scrape; nothing while the store is away."""
    try:
        for (service_id, state), count in core.jobs.store.counts().items():
            yield "penstock_jobs", (service_id, state.value), count
        for one in core.jobs.store.backlog():
            labels = (one.service_id, str(one.priority))
            yield "penstock_queue_depth", labels, one.waiting
            yield "penstock_queue_oldest_seconds", labels, one.oldest_age_s
        replicas: dict[tuple[str, str], int] = {}
        for replica in core.serving.replicas.all():
            key = (replica.service_id, replica.observed.value)
            replicas[key] = replicas.get(key, 0) + 1
        for key, count in replicas.items():
            yield "penstock_replicas", key, count
    except StoreUnavailable:
        return
