"""The core as an entry point holds it: one bundle of ports per room."""

from collections.abc import Callable
from dataclasses import dataclass

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
