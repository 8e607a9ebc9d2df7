"""Services and models as the hot path sees them: read once a second, not once a request."""

import threading

from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.registry.model import ModelVersion
from inference.registry.ports import ModelStore
from inference.serving.model import Service
from inference.serving.ports import ServiceStore

LIFE_S = 1.0
MOST = 10_000


class CachedDirectory:
    """`Directory` over the stores. What it says may be a second old; the commit itself checks the state again."""

    def __init__(self, services: ServiceStore, models: ModelStore) -> None:
        self._services = services
        self._models = models
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, Service, ModelVersion]] = {}

    def find(self, scope: Scope, service_id: str) -> tuple[Service, ModelVersion]:
        key, now = (scope.tenant_id, service_id), monotonic_s()
        known = self._known.get(key)
        if known is not None and now - known[0] < LIFE_S:
            _, service, model = known
            if scope.is_whole_tenant or scope.covers(
                tenant_id=service.tenant_id, workspace=service.workspace, service_id=service.id
            ):
                return service, model
        service = self._services.get(scope, service_id)
        if known is not None and known[2].id == service.model_id:
            model = known[2]
        else:
            model = self._models.get(scope.tenant_id, service.model_id)
        with self._lock:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = (now, service, model)
        return service, model


def slots(service: Service) -> int:
    """Drains that a service may have at a time: one per instance; 0 when it rests, and must be woken instead."""
    if service.is_resting:
        return 0
    return max(1, service.wanted_replicas * service.wanted_instances)
