"""Which model version may take the place of another in a service."""

from inference.access.model import Scope
from inference.errors import InvalidField, WrongState
from inference.registry import code
from inference.registry.model import ModelState, ModelVersion
from inference.serving.model import Service, ServiceConfig
from inference.serving.ports import ServingPorts


def require_usable(model: ModelVersion, config: ServiceConfig) -> None:
    """Raises WrongState for a deprecated version, ModelRunsCode for one that runs code where `config` forbids it."""
    if model.state is ModelState.DEPRECATED:
        raise WrongState(
            f"{model.name} {model.version} is deprecated and takes no new service; choose another version.",
            state=model.state.value,
            allowed=[ModelState.REGISTERED.value],
        )
    if model.runs_code and not config.allow_code:
        raise code.not_allowed_here(model)


def require_successor(
    ports: ServingPorts, *, scope: Scope, service: Service, model_id: str, config: ServiceConfig
) -> None:
    """Another version of the service's model, which takes what waiting tasks were checked for.

    Raises ModelNotFound, InvalidField for another model or other inputs, and what `require_usable` raises.
    """
    now, then = (ports.models.get(scope.tenant_id, one) for one in (service.model_id, model_id))
    if now.name != then.name:
        raise InvalidField(
            f"`model_id` must name another version of {now.name}, which this service runs; {then.name} {then.version} "
            "needs a service of its own.",
            field="model_id",
        )
    if {one.name: one for one in now.signature.inputs} != {one.name: one for one in then.signature.inputs}:
        raise InvalidField(
            f"{then.name} {then.version} takes other inputs than {now.version}, for which waiting tasks were checked; "
            "create a service for it.",
            field="model_id",
        )
    require_usable(then, config)
