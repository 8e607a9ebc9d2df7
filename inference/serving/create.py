"""Create a service: a row that waits to be started."""

from inference.access import checks
from inference.access.model import Scope
from inference.clock import epoch_s
from inference.errors import InvalidField
from inference.ids import new_id
from inference.serving import fallback, switch
from inference.serving.model import Service, ServiceConfig, ServiceState
from inference.serving.ports import ServingPorts

MAX_NAME = 128


def create(
    ports: ServingPorts,
    *,
    scope: Scope,
    model_id: str,
    config: ServiceConfig,
    name: str | None = None,
    workspace: str = "",
) -> Service:
    """The committed service, in state pending. Without a name it is called after its model.

    A caller that sees one workspace creates in that one, whatever `workspace` says.

    Raises ModelNotFound, NameExists, InvalidField for impossible names and fallbacks, WrongState for a deprecated
    model, ModelRunsCode for one that runs code where `config` does not allow it.
    """
    if name is not None:
        check_name(name)
    if workspace:
        checks.workspace(workspace)
    model = ports.models.get(scope.tenant_id, model_id)
    switch.require_usable(model, config)
    service_id, now = new_id(), epoch_s()
    fallback.require_sound(ports, scope=scope, service_id=service_id, config=config)
    service = Service(
        id=service_id,
        tenant_id=scope.tenant_id,
        workspace=workspace if scope.workspace is None else scope.workspace,
        name=name or f"{model.name[: MAX_NAME - 13]}-{service_id[-12:]}",
        model_id=model_id,
        state=ServiceState.PENDING,
        config=config,
        revision=1,
        created_at=now,
        updated_at=now,
    )
    ports.services.insert(service)
    return service


def check_name(name: str) -> None:
    """Raises InvalidField."""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidField(f"name must be 1 to {MAX_NAME} printable characters.", field="name")
