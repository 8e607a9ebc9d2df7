"""Reads the registry."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from inference.errors import InvalidField, ModelNotFound
from inference.ids import is_id
from inference.registry.checks import NAME, SEMVER, version_key
from inference.registry.model import ModelState, ModelVersion
from inference.registry.ports import RegistryPorts

LATEST = "latest"

_COMPARED = (
    "name", "version", "framework", "state", "sha256", "size_bytes",
    "signature", "hooks", "metadata", "accuracy_metrics", "deployment_config", "runs_code",
)  # fmt: skip


def get(ports: RegistryPorts, *, tenant_id: str, model_id: str) -> ModelVersion:
    """Raises ModelNotFound, also for an id of a wrong form."""
    if not is_id(model_id):
        raise ModelNotFound(f"There is no model `{model_id[:80]}`.", model_id=model_id[:80])
    return ports.models.get(tenant_id, model_id)


def find(
    ports: RegistryPorts, *, tenant_id: str, name: str | None = None, limit: int = 100, before_id: str | None = None
) -> Sequence[ModelVersion]:
    """Model versions, newest first; `before_id` is the cursor. Raises InvalidField for one of a wrong form."""
    if before_id is not None and not is_id(before_id):
        raise InvalidField("The cursor is not one that was given out.", field="cursor")
    if name is not None and not NAME.fullmatch(name):
        return []
    return ports.models.list(tenant_id, name=name, limit=limit, before_id=before_id)


def named(ports: RegistryPorts, *, tenant_id: str, name: str, version: str = LATEST) -> ModelVersion:
    """One version by its name. `latest`: the highest by semantic version that is not deprecated, releases before
    pre-releases. Raises ModelNotFound.
    """
    is_sound = NAME.fullmatch(name) is not None
    if version != LATEST:
        is_sound = is_sound and SEMVER.fullmatch(version) is not None
        model = ports.models.find(tenant_id, name, version) if is_sound else None
        if model is None:
            raise ModelNotFound(f"There is no version {version[:80]} of model '{name[:128]}'.", name=name[:128])
        return model
    models = [one for one in (_all(ports, tenant_id, name) if is_sound else ()) if one.state is ModelState.REGISTERED]
    if not models:
        raise ModelNotFound(f"There is no model '{name[:128]}' that is not deprecated.", name=name[:128])
    return max(models, key=lambda one: (version_key(one.version)[3], version_key(one.version)))


def diff(ports: RegistryPorts, *, tenant_id: str, model_id: str, other_id: str) -> dict[str, Any]:
    """What changed from the first to the second: `{"from", "to", "is_same_artefact", "changes"}`.

    `changes`: dotted path -> `{"from", "to"}`; a side that has no such value gives None. Raises ModelNotFound.
    """
    old = get(ports, tenant_id=tenant_id, model_id=model_id)
    new = get(ports, tenant_id=tenant_id, model_id=other_id)
    before, after = (_flat(msgspec.to_builtins(one)) for one in (old, new))
    return {
        "from": old.id,
        "to": new.id,
        "is_same_artefact": old.sha256 == new.sha256,
        "changes": {
            path: {"from": before.get(path), "to": after.get(path)}
            for path in sorted(before.keys() | after.keys())
            if before.get(path) != after.get(path)
        },
    }


def _all(ports: RegistryPorts, tenant_id: str, name: str) -> list[ModelVersion]:
    found: list[ModelVersion] = []
    while page := ports.models.list(tenant_id, name=name, limit=500, before_id=found[-1].id if found else None):
        found.extend(page)
    return found


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Objects opened into dotted paths; lists stay whole."""
    found: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                walk(f"{path}.{key}", inner)
        else:
            found[path] = value

    for field in _COMPARED:
        walk(field, row[field])
    return found
