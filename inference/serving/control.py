"""Start, stop, restart, scale, update and delete: what a person asks of a service.

Every call answers at once; the reconciler and the node agents do the work. Each may be repeated.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from inference.access.model import Scope
from inference.errors import WrongState
from inference.serving import config as configs
from inference.serving import fallback, grow, switch
from inference.serving.model import MEANT_TO_RUN, SERVICE_MOVES, TAKES_TASKS, Service, ServiceConfig, ServiceState
from inference.serving.ports import ServingPorts

LIVE = (
    "replicas",
    "instances",
    "priority",
    "preemptible",
    "idle_ttl_s",
    "idle_reclaim",
    "fallback_service_id",
    "auto_scaling",
    "coalesce",
    "cache_ttl_s",
    "cache_max_bytes",
    "cache_warm",
)
"""Keys of the config that no running process needs to be told of."""


def start(ports: ServingPorts, *, scope: Scope, service_id: str) -> Service:
    """The service, deploying; or as it is, when it is already meant to run, but no longer at rest.

    Raises ServiceNotFound.
    """
    found = _move(
        ports, scope, service_id, to=ServiceState.DEPLOYING, settled=MEANT_TO_RUN, reason="started by request"
    )
    return _woken(ports, scope, found)


def stop(ports: ServingPorts, *, scope: Scope, service_id: str) -> Service:
    """The service, stopping: running batches end, what waits stays. As it is, when it already stops or has stopped.

    Raises ServiceNotFound, and WrongState for a service that was never started.
    """
    stopped = frozenset({ServiceState.STOPPING, ServiceState.STOPPED})
    return _move(ports, scope, service_id, to=ServiceState.STOPPING, settled=stopped, reason="stopped by request")


def restart(ports: ServingPorts, *, scope: Scope, service_id: str) -> Service:
    """Replicas are replaced one by one while the service stays as it is; one that is not meant to run is started.

    Raises ServiceNotFound.
    """
    service = ports.services.get(scope, service_id)
    if service.state not in MEANT_TO_RUN:
        return start(ports, scope=scope, service_id=service_id)
    renewed = ports.services.configure(scope, service_id, config=service.config, replicas_only=False)
    ports.kick.reconcile()
    return renewed


def scale(
    ports: ServingPorts, *, scope: Scope, service_id: str, replicas: int, instances: int | None = None
) -> Service:
    """The service with its new size. Replicas that are there grow or shrink in place; no running job is ended for it.

    In any state: one that does not run has the new size at its next start. Raises ServiceNotFound, InvalidField, and
    NoRoom for instances that a shared card has no room for.
    """
    service = ports.services.get(scope, service_id)
    wanted = configs.change(service.config, {"replicas": replicas})
    if instances is not None and instances != wanted.instances:
        wanted = configs.change(wanted, {"instances": instances})
    grow.require_room(ports, service, wanted.instances)
    scaled = ports.services.configure(scope, service_id, config=wanted, replicas_only=True)
    ports.kick.reconcile()
    return _woken(ports, scope, scaled)


def update(
    ports: ServingPorts,
    *,
    scope: Scope,
    service_id: str,
    config_changes: Mapping[str, Any],
    model_id: str | None = None,
    defaults: ServiceConfig = ServiceConfig(),  # noqa: B008
) -> Service:
    """The service with some keys of its config changed, null takes a key back to its default; or at another version.

    Replicas that run under the earlier config or version are replaced one by one, each when its successor is ready
    (where there is room for both), unless only keys in `LIVE` differ. Should the new version not load, those of the
    earlier one go on. Raises ServiceNotFound, UnknownField, InvalidField, NoRoom as `scale` does, and what
    `switch.require_successor` raises.
    """
    service = ports.services.get(scope, service_id)
    wanted = configs.change(service.config, config_changes, defaults)
    if wanted.fallback_service_id != service.config.fallback_service_id:
        fallback.require_sound(ports, scope=scope, service_id=service_id, config=wanted)
    is_switched = model_id is not None and model_id != service.model_id
    if model_id is not None and is_switched:
        switch.require_successor(ports, scope=scope, service=service, model_id=model_id, config=wanted)
    if _settled(wanted) == _settled(service.config) and not is_switched:
        return service
    eased = dataclasses.replace(service.config, **{name: getattr(wanted, name) for name in LIVE})
    replicas_only = _settled(wanted) == _settled(eased) and not is_switched
    if replicas_only and not wanted.auto_scaling.enabled:
        grow.require_room(ports, service, wanted.instances)
    updated = ports.services.configure(
        scope, service_id, config=wanted, replicas_only=replicas_only, model_id=model_id if is_switched else None
    )
    ports.kick.reconcile()
    return updated


def delete(ports: ServingPorts, *, scope: Scope, service_id: str) -> None:
    """Removes the service with its jobs and results. Its workers, if any still drain, are ended by their agents.

    Raises ServiceNotFound, and WrongState while the service is meant to run, or will again by itself: its waiting jobs
    would be lost. Raises InUse while it is the fallback of another: that one's tasks would wait for room again.
    """
    service = ports.services.get(scope, service_id)
    if service.state in TAKES_TASKS:
        raise WrongState(
            f"Service {service_id} is {service.state.value}; stop it first (POST .../services/{service_id}/stop).",
            state=service.state.value,
            allowed=sorted(state.value for state in ServiceState if state not in TAKES_TASKS),
        )
    fallback.require_unused(ports, scope=scope, service_id=service_id)
    ports.services.delete(scope, service_id)


def _woken(ports: ServingPorts, scope: Scope, service: Service) -> Service:
    """Who starts or scales a service that rests wants it to be there."""
    if not service.is_resting:
        return service
    awake = ports.services.wake(scope, service.id)
    ports.kick.reconcile()
    return awake


def _settled(config: ServiceConfig) -> ServiceConfig:
    """What really counts of a config."""
    return dataclasses.replace(config, raw={})


def _move(
    ports: ServingPorts,
    scope: Scope,
    service_id: str,
    *,
    to: ServiceState,
    settled: frozenset[ServiceState],
    reason: str,
) -> Service:
    """Asks again when the state changed under the call; three changes in a row do not happen."""
    allowed = _sources(to, settled)
    for _ in range(3):
        service = ports.services.get(scope, service_id)
        if service.state in settled:
            return service
        if service.state not in allowed:
            break
        if moved := ports.services.move(scope, service_id, allowed=allowed, to=to, reason=reason):
            ports.kick.reconcile()
            return moved
    raise WrongState(
        f"Service {service_id} is {service.state.value} and cannot become {to.value}; {_ADVICE[to]}",
        state=service.state.value,
        allowed=sorted(state.value for state in allowed),
    )


_ADVICE = {
    ServiceState.DEPLOYING: "try again in a moment.",
    ServiceState.STOPPING: "it was never started, so there is nothing to stop: start it, or delete it.",
}


def _sources(to: ServiceState, settled: frozenset[ServiceState]) -> Sequence[ServiceState]:
    return [state for state, targets in SERVICE_MOVES.items() if to in targets and state not in settled]
