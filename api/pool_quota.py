"""The tenant's quotas of replicas and GPUs, asked before a service starts or grows."""

from collections.abc import Mapping
from typing import Any

from api import context
from inference.serving import config as configs
from inference.serving import query, quota
from inference.serving.model import MEANT_TO_RUN, ServiceConfig


def require_for_start(service_id: str) -> None:
    """One that is meant to run, and does not rest, brings nothing new. Raises QuotaExceeded, ServiceNotFound."""
    service = query.get(context.core().serving, scope=context.scope(), service_id=service_id)
    if service.state not in MEANT_TO_RUN or service.is_resting:
        require(service.config, service_id=service_id)


def require_for_scale(service_id: str, replicas: int) -> None:
    """Of a service that does not run, its start is asked. Raises QuotaExceeded, ServiceNotFound."""
    service = query.get(context.core().serving, scope=context.scope(), service_id=service_id)
    if service.state in quota.COUNTED:
        require(service.config, service_id=service_id, replicas=replicas)


def require_for_change(service_id: str, changes: Mapping[str, Any], defaults: ServiceConfig) -> None:
    """As for scale. Raises QuotaExceeded, ServiceNotFound, and what reading the changes raises."""
    service = query.get(context.core().serving, scope=context.scope(), service_id=service_id)
    if service.state in quota.COUNTED:
        require(configs.change(service.config, changes, defaults), service_id=service_id)


def require(config: ServiceConfig, *, service_id: str = "", replicas: int | None = None) -> None:
    """For a service with this config, of the size that it names unless `replicas` does. Raises QuotaExceeded."""
    quota.require_room(
        context.core().serving,
        scope=context.scope(),
        limits=context.principal().tenant_limits,
        service_id=service_id,
        config=config,
        replicas=config.replicas if replicas is None else replicas,
    )
