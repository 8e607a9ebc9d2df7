"""Changes to a model version that is there."""

from inference.registry import query
from inference.registry.model import ModelState, ModelVersion
from inference.registry.ports import RegistryPorts
from inference.registry.register import forget_blobs


def deprecate(ports: RegistryPorts, *, tenant_id: str, model_id: str) -> ModelVersion:
    """The row as it is now. What runs on it goes on; `latest` passes it over. Raises ModelNotFound."""
    query.get(ports, tenant_id=tenant_id, model_id=model_id)
    return ports.models.set_state(tenant_id, model_id, ModelState.DEPRECATED)


def delete(ports: RegistryPorts, *, tenant_id: str, model_id: str) -> None:
    """Removes the row, and the contents that no other row names.

    Raises ModelNotFound; InUse while a service or deployment names the model.
    """
    model = query.get(ports, tenant_id=tenant_id, model_id=model_id)
    ports.models.delete(tenant_id, model_id)
    forget_blobs(ports, [model.sha256, model.golden])
