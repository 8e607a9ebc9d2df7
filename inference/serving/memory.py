"""What one instance of a service takes of memory: measured where its model has run, else estimated."""

from collections.abc import Sequence

from inference.registry.model import ModelVersion
from inference.resources.estimate import MemoryNeed, memory_need
from inference.serving.model import Profile, Replica, ServiceConfig


def is_on_card(config: ServiceConfig, replicas: Sequence[Replica]) -> bool:
    """Whether its instances run on cards: as its replicas were placed, else as its config asks."""
    if replicas:
        return any(replica.device != "cpu" for replica in replicas)
    wants = config.requirements
    return config.provider == "cuda" or bool(wants.gpu or wants.gpu_memory_bytes)


def per_instance(
    model: ModelVersion, profiles: Sequence[Profile], config: ServiceConfig, *, on_card: bool, max_batch: int = 64
) -> MemoryNeed:
    """Of its card, or of its host beside the bare process. `profiles`: of this model; the newest measurement counts.

    `max_batch`: the batch limit where the config names none.
    """
    provider = "cuda" if on_card else "cpu"
    measured = [one for one in profiles if one.provider == provider and one.memory_bytes is not None]
    newest = max(measured, key=lambda one: one.measured_at, default=None)
    return memory_need(model, newest, config, on_card=on_card, max_batch=max_batch)
