"""Deploy a model version to an environment: a record, and a service behind it."""

from collections.abc import Sequence

from inference.access.model import Scope
from inference.clock import epoch_s
from inference.errors import InvalidField
from inference.ids import new_id
from inference.serving import control
from inference.serving.create import create
from inference.serving.model import Deployment, ServiceConfig
from inference.serving.ports import ServingPorts

MAX_ENVIRONMENT = 64


def deploy(ports: ServingPorts, *, scope: Scope, model_id: str, environment: str, config: ServiceConfig) -> Deployment:
    """The committed record; its service has been created and started.

    Raises ModelNotFound, WrongState for a deprecated model, ModelRunsCode, InvalidField for an impossible environment.
    """
    if not 0 < len(environment) <= MAX_ENVIRONMENT or not environment.isprintable():
        raise InvalidField(f"environment must be 1 to {MAX_ENVIRONMENT} printable characters.", field="environment")
    service = create(ports, scope=scope, model_id=model_id, config=config)
    deployment = Deployment(
        id=new_id(),
        tenant_id=scope.tenant_id,
        model_id=model_id,
        service_id=service.id,
        environment=environment,
        config=config.raw,
        created_at=epoch_s(),
    )
    ports.deployments.insert(deployment)
    control.start(ports, scope=scope, service_id=service.id)
    return deployment


def get(ports: ServingPorts, *, scope: Scope, deployment_id: str) -> Deployment:
    """Raises DeploymentNotFound."""
    return ports.deployments.get(scope, deployment_id)


def find(
    ports: ServingPorts,
    *,
    scope: Scope,
    model_id: str | None = None,
    limit: int = 100,
    before_id: str | None = None,
) -> Sequence[Deployment]:
    """Newest first; `before_id` is the cursor."""
    return ports.deployments.list(scope, model_id=model_id, limit=limit, before_id=before_id)
