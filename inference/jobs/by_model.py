"""Which service answers for a model: read once a second, not once a request."""

import random
import threading
from collections.abc import Sequence

from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.errors import ModelNotFound, WrongState
from inference.registry.checks import version_key
from inference.registry.model import ModelState, ModelVersion
from inference.registry.ports import ModelStore
from inference.registry.query import LATEST
from inference.serving.model import Service, ServiceState
from inference.serving.ports import ServiceStore

LIFE_S = 1.0
MOST = 10_000
PAGE = 500

Running = tuple[tuple[Service, ModelVersion], ...]


class CachedByModel:
    """`ByModel` over the stores. Thread-safe."""

    def __init__(self, services: ServiceStore, models: ModelStore) -> None:
        self._services = services
        self._models = models
        self._lock = threading.Lock()
        self._known: dict[tuple[Scope, str, str], tuple[float, Running]] = {}

    def find(self, scope: Scope, name: str, version: str) -> tuple[Service, ModelVersion]:
        """See `ByModel`."""
        key, now = (scope, name, version), monotonic_s()
        known = self._known.get(key)
        if known is not None and now - known[0] < LIFE_S:
            return random.choice(known[1])  # noqa: S311 - spreads load, guards nothing
        running = self._read(scope, name, version)
        with self._lock:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = (now, running)
        return random.choice(running)  # noqa: S311

    def _read(self, scope: Scope, name: str, version: str) -> Running:
        wanted = {model.id: model for model in self._versions(scope.tenant_id, name, version)}
        if not wanted:
            said = "" if version == LATEST else f" {version[:80]}"
            raise ModelNotFound(f"There is no model '{name[:128]}'{said} that is not deprecated.", name=name[:128])
        found = self._services.list(scope, state=ServiceState.RUNNING, model_ids=tuple(wanted), limit=PAGE)
        if not found:
            raise WrongState(
                f"No service of model '{name}' is running; start one with POST /services/<service_id>/start.",
                state="none",
                allowed=[ServiceState.RUNNING],
            )
        best = max((wanted[service.model_id] for service in found), key=_rank)
        return tuple((service, best) for service in found if service.model_id == best.id)

    def _versions(self, tenant_id: str, name: str, version: str) -> Sequence[ModelVersion]:
        """A version that is named may be deprecated: somebody wants just that one."""
        if version != LATEST:
            model = self._models.find(tenant_id, name, version)
            return [] if model is None else [model]
        found: list[ModelVersion] = []
        while page := self._models.list(tenant_id, name=name, limit=PAGE, before_id=found[-1].id if found else None):
            found.extend(page)
        return [model for model in found if model.state is ModelState.REGISTERED]


def _rank(model: ModelVersion) -> tuple[object, ...]:
    """As `registry.query.named` ranks: releases before pre-releases."""
    key = version_key(model.version)
    return key[3], key
