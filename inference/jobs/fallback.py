"""Work of a service that has no room goes to its fallback: what comes, and what has waited for a while."""

import threading
from collections.abc import Sequence
from typing import Protocol

import structlog

from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.errors import NotFound
from inference.jobs.directory import slots
from inference.jobs.ports import Bell
from inference.registry.model import ModelVersion
from inference.registry.ports import ModelStore
from inference.serving.fallback import MOST, is_unplaced
from inference.serving.model import Service, ServiceState
from inference.serving.ports import ServiceStore

log = structlog.get_logger(__name__)

LIFE_S = 1.0
MOST_KNOWN = 10_000
PART = 1_000


class FallbackStore(Protocol):
    """What only statements of the database answer. Raises StoreUnavailable."""

    def naming(self) -> Sequence[Service]:
        """The services, of any tenant, that name a fallback and are meant to run."""
        ...

    def is_held(self, service_id: str) -> bool:
        """Whether a replica that is meant to run stands on a living node."""
        ...

    def hand_over(self, service_id: str, to: str, *, older_than_s: float, limit: int) -> int:
        """Gives the first waiting jobs of that age to the other service, in their places; how many."""
        ...


class CachedFallback:
    """`Fallbacks` over the stores. `after_s`: how long a job waits before it is handed over."""

    def __init__(self, services: ServiceStore, models: ModelStore, store: FallbackStore, *, after_s: float) -> None:
        self._services = services
        self._models = models
        self._store = store
        self._after_s = after_s
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, tuple[Service, ModelVersion] | None]] = {}

    def find(self, service: Service) -> tuple[Service, ModelVersion] | None:
        """See `Fallbacks`."""
        if service.config.fallback_service_id is None:
            return None
        known, now = self._known.get(service.id), monotonic_s()
        if known is not None and now - known[0] < LIFE_S:
            return known[1]
        found = self._find(service)
        with self._lock:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[service.id] = now, found
        return found

    def _find(self, service: Service) -> tuple[Service, ModelVersion] | None:
        """Follows the fallbacks to the first that has room; one that is gone ends the row."""
        scope = Scope(service.tenant_id)
        for _ in range(MOST):
            if not is_unplaced(service, is_held=self._store.is_held(service.id)):
                return None
            if service.config.fallback_service_id is None:
                return None
            try:
                service = self._services.get(scope, service.config.fallback_service_id)
                if service.state is ServiceState.RUNNING and (
                    service.is_resting or not is_unplaced(service, is_held=self._store.is_held(service.id))
                ):
                    return service, self._models.get(scope.tenant_id, service.model_id)
            except NotFound:
                return None
        return None

    def hand_over(self, bell: Bell) -> int:
        """See `Fallbacks`."""
        total = 0
        for service in self._store.naming():
            found = self.find(service)
            if found is None:
                continue
            other, its_model = found
            if its_model.signature.inputs != self._models.get(service.tenant_id, service.model_id).signature.inputs:
                continue
            moved = 0
            while part := self._store.hand_over(service.id, other.id, older_than_s=self._after_s, limit=PART):
                moved += part
            if moved:
                bell.ring(other.id, slots=slots(other))
                log.info("jobs_handed_over", service_id=service.id, to=other.id, count=moved)
            total += moved
        return total
