"""A lighter service that takes the work of one that has no room: which may be named, and when it steps in."""

from inference.access.model import Scope
from inference.errors import InUse, InvalidField, ServiceNotFound
from inference.serving.model import MEANT_TO_RUN, Service, ServiceConfig, ServiceState
from inference.serving.ports import ServingPorts

FIELD = "config.fallback_service_id"
MOST = 8
"""Services in a row, each the fallback of the one before it."""
MOST_SERVICES = 100_000


def require_sound(ports: ServingPorts, *, scope: Scope, service_id: str, config: ServiceConfig) -> None:
    """Raises InvalidField unless the fallback, if one is named, is there for the caller, and leads back to no service.

    The fallbacks of the fallback are looked at, too; whether its model takes the same inputs shows with each task.
    """
    named = config.fallback_service_id
    if named is None:
        return
    if named == service_id:
        raise InvalidField(f"`{FIELD}` names the service itself; name a lighter one.", field=FIELD)
    try:
        service = ports.services.get(scope, named)
    except ServiceNotFound as error:
        raise InvalidField(f"`{FIELD}`: there is no service {named}.", field=FIELD) from error
    for _ in range(MOST):
        following = service.config.fallback_service_id
        if following is None:
            return
        if following == service_id:
            raise InvalidField(
                f"`{FIELD}` closes a circle: the fallbacks of {named} lead back to this service.", field=FIELD
            )
        try:
            service = ports.services.get(Scope(scope.tenant_id), following)
        except ServiceNotFound:
            return
    raise InvalidField(f"`{FIELD}` begins a row of more than {MOST} fallbacks.", field=FIELD)


def require_unused(ports: ServingPorts, *, scope: Scope, service_id: str) -> None:
    """Raises InUse while it is the fallback of another service, which is named if the caller sees it."""
    for service in ports.services.list(Scope(scope.tenant_id), limit=MOST_SERVICES):
        if service.config.fallback_service_id != service_id or service.id == service_id:
            continue
        if scope.covers(tenant_id=service.tenant_id, workspace=service.workspace, service_id=service.id):
            raise InUse(
                f"The service is the fallback of {service.name} ({service.id}); give that another one, or none "
                '({"config": {"fallback_service_id": null}}).',
                service_id=service_id,
                used_by=service.id,
            )
        raise InUse("The service is the fallback of one that this key does not see.", service_id=service_id)


def is_unplaced(service: Service, *, is_held: bool) -> bool:
    """Whether it should have an engine, and there is no room for any. `is_held`: a replica of it is on a living node.

    One that rests is not: its work wakes it. Nor is one that has just been started, of which nothing is said yet.
    """
    if service.state is ServiceState.PREEMPTED:
        return True
    is_wanted = service.state in MEANT_TO_RUN and service.wanted_replicas > 0
    return is_wanted and not is_held and service.suggested_action is not None
