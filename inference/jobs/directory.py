"""Services and models as the hot path sees them: read once a second, not once a request."""

import threading
from contextlib import suppress

from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.errors import PenstockError
from inference.registry.model import ModelVersion
from inference.registry.ports import ModelStore
from inference.serving.model import Service
from inference.serving.ports import ServiceStore
from inference.waiting import hand_on

LIFE_S, AHEAD_S = 1.0, 0.6
"""On a loop another thread reads again what is so old, before anybody has to wait for it."""
MOST = 10_000


class CachedDirectory:
    """`Directory` over the stores. What it says may be a second old; the commit itself checks the state again."""

    def __init__(self, services: ServiceStore, models: ModelStore) -> None:
        self._services = services
        self._models = models
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, Service, ModelVersion]] = {}
        self._coming: set[tuple[str, str]] = set()

    def find(self, scope: Scope, service_id: str) -> tuple[Service, ModelVersion]:
        key, now = (scope.tenant_id, service_id), monotonic_s()
        known = self._known.get(key)
        if known is not None and now - known[0] < LIFE_S:
            _, service, model = known
            if scope.is_whole_tenant or scope.covers(
                tenant_id=service.tenant_id, workspace=service.workspace, service_id=service.id
            ):
                if now - known[0] > AHEAD_S:
                    self._read_ahead(scope, service_id)
                return service, model
        return self._read(scope, service_id)

    def _read_ahead(self, scope: Scope, service_id: str) -> None:
        key = scope.tenant_id, service_id
        if key in self._coming:
            return

        def read() -> None:
            try:
                with suppress(PenstockError):  # who has to wait for it is told
                    self._read(scope, service_id)
            finally:
                self._coming.discard(key)

        self._coming.add(key)  # before the other thread may have ended
        if not hand_on(read):
            self._coming.discard(key)

    def _read(self, scope: Scope, service_id: str) -> tuple[Service, ModelVersion]:
        key, now = (scope.tenant_id, service_id), monotonic_s()
        known = self._known.get(key)
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
