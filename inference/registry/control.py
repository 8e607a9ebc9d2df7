"""Changes to a model version that is there."""

from inference.access.model import Scope
from inference.registry import query
from inference.registry.model import ModelState, ModelVersion
from inference.registry.ports import RegistryPorts
from inference.registry.register import forget_blobs


def deprecate(ports: RegistryPorts, *, tenant_id: str, model_id: str) -> ModelVersion:
    """The row as it is now. What runs on it goes on; `latest` passes it over. Raises ModelNotFound."""
    query.get(ports, tenant_id=tenant_id, model_id=model_id)
    return ports.models.set_state(tenant_id, model_id, ModelState.DEPRECATED)


def delete(ports: RegistryPorts, *, tenant_id: str, model_id: str, seen_by: Scope | None = None) -> None:
    """Removes the row, and the contents that no other row names.

    `seen_by`: the caller's scope; what uses the model outside of it is not named (None: all is). Raises ModelNotFound;
    InUse while a service or deployment names the model.
    """
    model = query.get(ports, tenant_id=tenant_id, model_id=model_id)
    ports.models.delete(tenant_id, model_id, seen_by=seen_by)
    forget_blobs(ports, [model.sha256, model.golden])
