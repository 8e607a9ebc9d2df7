"""The short form of S2: a model file in, a starting service out."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from api import context
from inference.access.model import Scope
from inference.core import Core
from inference.errors import InvalidField
from inference.registry import query, register, source
from inference.registry.model import ModelState, ModelVersion
from inference.serving import control
from inference.serving import create as services
from inference.serving.model import Service, ServiceConfig

FIRST_VERSION = "1.0.0"
NEEDED = ("name", "model_path", "framework")
KEPT = ("description", "customer_id", "workspace_id")

_RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def create(core: Core, *, scope: Scope, wanted: dict[str, Any], config: ServiceConfig) -> Service:
    """The service, deploying. The same file under the same name is registered once; another one is the next version.

    Raises what registering, creating and starting raise.
    """
    if "model_id" in wanted:
        raise InvalidField("`model_id` and `model_path` stand both; give one.", field="model_id")
    for name in NEEDED:
        if name not in wanted:
            raise InvalidField(f"The field `{name}` is missing.", field=name)
    model = _registered(core, scope.tenant_id, wanted) or _register(
        core, scope.tenant_id, wanted, allow_code=config.allow_code
    )
    service = services.create(
        core.serving,
        scope=scope,
        model_id=model.id,
        config=config,
        name=wanted["name"],
        workspace=wanted.get("workspace_id", ""),
    )
    return control.start(core.serving, scope=scope, service_id=service.id)


def _registered(core: Core, tenant_id: str, wanted: dict[str, Any]) -> ModelVersion | None:
    """A version of this name that holds the same file, if there is one."""
    versions = query.find(core.registry, tenant_id=tenant_id, name=wanted["name"], limit=1000)
    same = [model for model in versions if model.framework == wanted["framework"] and not model.hooks]
    same = [model for model in same if model.state is ModelState.REGISTERED]
    if not same:
        return None
    key = _content_key(core, tenant_id, wanted["model_path"])
    return next((model for model in same if model.sha256 == key), None)


def _content_key(core: Core, tenant_id: str, model_path: str) -> str | None:
    origin = source.read(model_path)
    if origin.upload_id is not None:
        return core.registry.uploads.get(tenant_id, origin.upload_id).key
    if origin.path is None:
        return None
    with source.open_file(origin.path, source.roots_of(core.settings.registry.model_roots)) as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest()


def _register(core: Core, tenant_id: str, wanted: dict[str, Any], *, allow_code: bool) -> ModelVersion:
    versions = query.find(core.registry, tenant_id=tenant_id, name=wanted["name"], limit=1000)
    return register.register(
        core.registry,
        tenant_id=tenant_id,
        name=wanted["name"],
        version=next_version(model.version for model in versions),
        framework=wanted["framework"],
        model_path=wanted["model_path"],
        metadata={name: wanted[name] for name in KEPT if name in wanted},
        allow_code=allow_code,
        by=context.principal(),
    )


def next_version(versions: Iterable[str]) -> str:
    """The first version of a model, or the patch release after its highest one."""
    releases = [tuple(map(int, match.groups())) for text in versions if (match := _RELEASE.match(text))]
    if not releases:
        return FIRST_VERSION
    major, minor, patch = max(releases)
    return f"{major}.{minor}.{patch + 1}"
