"""Registers a model version: checked, copied, tried out, and only then a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from inference.access.model import Principal
from inference.clock import epoch_s
from inference.engines import catalog
from inference.engines import hooks as hooks_of
from inference.errors import InvalidField, ModelInvalid, NotFound, UploadNotFound, VersionExists
from inference.ids import is_id, new_id
from inference.registry import checks, code, room, source
from inference.registry.model import ModelState, ModelVersion
from inference.registry.ports import RegistryPorts, StoredBlob
from inference.registry.trial import Trial

TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What the client wrote, checked."""

    name: str
    version: str
    framework: str
    origin: source.Source
    metadata: Mapping[str, Any]
    accuracy_metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    allow_code: bool

    @property
    def hooks(self) -> dict[str, Any]:
        keys = ("preprocess", "postprocess")
        return {key: self.config[key] for key in keys if self.config.get(key) is not None}


def register(
    ports: RegistryPorts,
    *,
    tenant_id: str,
    name: str,
    version: str,
    framework: str,
    model_path: str,
    metadata: Mapping[str, Any] | None = None,
    accuracy_metrics: Mapping[str, Any] | None = None,
    deployment_config: Mapping[str, Any] | None = None,
    allow_code: bool = False,
    by: Principal | None = None,
) -> ModelVersion:
    """The new row. When it returns, the artefact lies in the blob store and has answered a trial run.

    Blocks for as long as the copy and the trial take. What is refused leaves nothing behind. With `allow_code` an
    artefact may run code of its maker, in the trial and whenever it is loaded; asking who may say so is the caller's
    part. `by`: whose quota the artefact counts against. Raises InvalidField, ModelPathRefused, UploadNotFound,
    VersionExists, ModelInvalid, ModelRunsCode, TooLarge, QuotaExceeded, NoRoom.
    """
    wish = _Wish(
        name=checks.check_name(name),
        version=checks.check_version(version),
        framework=_check_framework(ports, framework),
        origin=_check_path(model_path),
        metadata=checks.check_mapping("metadata", metadata),
        accuracy_metrics=checks.check_mapping("accuracy_metrics", accuracy_metrics),
        config=checks.check_config(deployment_config),
        allow_code=allow_code,
    )
    hooks_of.compile(wish.hooks)
    if ports.models.find(tenant_id, wish.name, wish.version) is not None:
        raise VersionExists(
            f"Version {version} of model '{name}' exists already; choose another version.", name=name, version=version
        )
    for _ in range(TRIES):
        model = _attempt(ports, tenant_id, wish, by)
        if model is not None:
            return model
    raise ModelInvalid("The artefact was removed again and again while it was being registered; try once more.")


def _attempt(ports: RegistryPorts, tenant_id: str, wish: _Wish, by: Principal | None) -> ModelVersion | None:
    """The row, or None when somebody who deletes a model of equal content took the content away."""
    keys: list[str] = []
    try:
        blob = _fetch(ports, tenant_id, wish.origin, by)
        keys.append(blob.key)
        runs_code = _check_code(ports, wish, blob)
        trial = _try(ports, wish, blob)
        golden = ports.blobs.put_bytes(trial.golden)
        keys.append(golden.key)
        model = _row(tenant_id, wish, blob, golden.key, trial, runs_code=runs_code)
        with room.counted(ports, by, blob.size_bytes):
            ports.models.insert(model)
    except BaseException as error:
        if isinstance(error, ModelInvalid | NotFound) and not _has_all(ports, keys):
            return None
        forget_blobs(ports, keys)
        raise
    if _has_all(ports, keys):
        return model
    ports.models.delete(tenant_id, model.id)
    return None


def forget_blobs(ports: RegistryPorts, keys: list[str]) -> None:
    """Removes the contents that no row names any more."""
    for key in dict.fromkeys(keys):
        if not _is_used(ports, key):
            ports.blobs.delete(key, unless=partial(_is_used, ports, key))


def _is_used(ports: RegistryPorts, key: str) -> bool:
    return ports.models.blob_users(key) > 0


def _fetch(ports: RegistryPorts, tenant_id: str, origin: source.Source, by: Principal | None) -> StoredBlob:
    if origin.upload_id is not None:
        if not is_id(origin.upload_id):
            raise UploadNotFound(f"There is no upload `{origin.upload_id[:80]}`.", upload_id=origin.upload_id[:80])
        upload = ports.uploads.get(tenant_id, origin.upload_id)
        return StoredBlob(key=upload.key, size_bytes=upload.size_bytes)
    if origin.path is None:
        raise InvalidField("model_path is missing.", field="model_path")
    with source.open_file(origin.path, source.roots_of(ports.settings.model_roots)) as file:
        return room.store(ports, by, file, what="model")


def _check_code(ports: RegistryPorts, wish: _Wish, blob: StoredBlob) -> bool:
    """Whether loading it runs code. Raises ModelRunsCode where that is not allowed."""
    reason = code.reason(ports.blobs.path(blob.key), framework=wish.framework, plugins=ports.engines.plugins)
    if reason is not None and not wish.allow_code:
        raise code.refused(reason)
    return reason is not None


def _try(ports: RegistryPorts, wish: _Wish, blob: StoredBlob) -> Trial:
    return ports.inspect(
        ports.blobs.path(blob.key),
        framework=wish.framework,
        hooks=wish.hooks,
        golden=wish.config.get("golden") or {},
        options=wish.config.get("engine") or {},
        settings=ports.settings,
        engines=ports.engines,
    )


def _row(tenant_id: str, wish: _Wish, blob: StoredBlob, golden: str, trial: Trial, *, runs_code: bool) -> ModelVersion:
    return ModelVersion(
        id=new_id(),
        tenant_id=tenant_id,
        name=wish.name,
        version=wish.version,
        framework=wish.framework,
        state=ModelState.REGISTERED,
        sha256=blob.key,
        size_bytes=blob.size_bytes,
        golden=golden,
        signature=trial.signature,
        hooks=wish.hooks,
        metadata=wish.metadata,
        accuracy_metrics=wish.accuracy_metrics,
        deployment_config=wish.config,
        runs_code=runs_code,
        created_at=epoch_s(),
        estimate=trial.estimate,
    )


def _has_all(ports: RegistryPorts, keys: list[str]) -> bool:
    try:
        for key in keys:
            ports.blobs.path(key)
    except NotFound:
        return False
    return True


def _check_framework(ports: RegistryPorts, framework: object) -> str:
    if not isinstance(framework, str) or not framework:
        raise InvalidField("framework must be the name of an engine, such as onnx.", field="framework")
    catalog.find(framework, ports.engines.plugins)
    return framework


def _check_path(model_path: object) -> source.Source:
    if not isinstance(model_path, str):
        raise InvalidField("model_path must be a text.", field="model_path")
    return source.read(model_path)
