"""Models, deployments and uploads on the wire."""

from typing import Any

import marshmallow as ma
from marshmallow import fields

from api.schemas.common import AN_ID, Flag, PageIn, Text, id_field, id_in, next_field, time_field
from api.schemas.service_config import CONFIG
from inference import clock
from inference.engines.hooks import STEP_LIMIT
from inference.registry.checks import NAME, SEMVER, VERSION_LENGTH
from inference.registry.model import ModelVersion
from inference.serving.deploy import MAX_ENVIRONMENT
from inference.serving.model import Deployment
from inference.tensors import TensorSpec

REGISTER_EXAMPLE = {
    "name": "digits",
    "version": "1.0.0",
    "framework": "onnx",
    "model_path": "/models/digits.onnx",
    "metadata": {"author": "you"},
    "accuracy_metrics": {"accuracy": 0.98},
    "deployment_config": {},
}
REGISTERED_EXAMPLE = {"model_id": AN_ID, "status": "registered", "name": "digits", "version": "1.0.0"}


MODEL_NAME = {"pattern": f"^{NAME.pattern}$"}
MODEL_PATH = {
    "description": "Absolute path readable by the API, file:// URL, or upload:<upload_id>",
    "pattern": "^(/|file:/|upload:)[^\\u0000]*$",
    "maxLength": 4096,
}
FRAMEWORK = {"example": "onnx", "minLength": 1}
_PART = {"type": "object", "nullable": True}
_STEPS = {"anyOf": [_PART, {"type": "array", "items": {"type": "object"}, "maxItems": STEP_LIMIT}]}


class RegisterIn(ma.Schema):
    """M1."""

    name = Text(required=True, metadata=MODEL_NAME)
    version = Text(
        required=True,
        metadata={
            "description": "Semantic version",
            "example": "1.0.0",
            "pattern": f"^{SEMVER.pattern}$",
            "maxLength": VERSION_LENGTH,
        },
    )
    framework = Text(required=True, metadata=FRAMEWORK)
    model_path = Text(required=True, metadata=MODEL_PATH)
    metadata = fields.Dict(load_default=dict)
    accuracy_metrics = fields.Dict(load_default=dict)
    deployment_config = fields.Dict(
        load_default=dict,
        metadata={
            "description": "preprocess, postprocess and engine; see docs/hooks.md",
            "properties": {"preprocess": _STEPS, "postprocess": _STEPS, "golden": _PART, "engine": _PART},
        },
    )
    allow_code = Flag(
        load_default=False,
        metadata={"description": "Accept a file that runs code when it is loaded; admins only; see docs/models.md"},
    )


class Registered(ma.Schema):
    model_id = id_field("The model version")
    status = fields.String(metadata={"example": "registered"})
    name = fields.String()
    version = fields.String()
    sha256 = fields.String()
    size_bytes = fields.Integer()
    created_at = time_field("When it was registered", nullable=False)


class TensorShown(ma.Schema):
    name = fields.String()
    dtype = fields.String(metadata={"example": "float32"})
    shape = fields.List(
        fields.Integer(allow_none=True), metadata={"description": "Batch axis first; null = any length"}
    )


class ModelShown(Registered):
    framework = fields.String()
    inputs = fields.List(fields.Nested(TensorShown), metadata={"description": "What input_data must bring"})
    outputs = fields.List(fields.Nested(TensorShown), metadata={"description": "What result holds"})
    metadata = fields.Dict()
    accuracy_metrics = fields.Dict()
    deployment_config = fields.Dict()
    runs_code = fields.Boolean(metadata={"description": "Loading it runs code of its maker; an admin allowed that"})
    memory_estimate = fields.Dict(
        metadata={
            "description": "From the trial run: weight_bytes, row_bytes and fixed_bytes of activations; empty where "
            "the engine does not say. Services show what an instance takes (memory_per_instance)"
        }
    )


class ModelPage(ma.Schema):
    models = fields.List(fields.Nested(ModelShown))
    next = next_field()


class ModelQuery(PageIn):
    name = Text(load_default=None, metadata={"description": "Only versions of this model"})


class DiffQuery(ma.Schema):
    other = id_in("The model_id to compare with", required=True)


class ModelDiff(ma.Schema):
    """What changed from the first to the second."""

    from_ = fields.String(data_key="from", attribute="from", metadata={"description": "The one asked for"})
    to = fields.String(metadata={"description": "`other`"})
    is_same_artefact = fields.Boolean()
    changes = fields.Dict(metadata={"description": 'dotted path -> {"from", "to"}'})


class DeployIn(ma.Schema):
    """M2."""

    model_id = id_in("A registered model version", required=True)
    environment = Text(
        required=True,
        metadata={
            "description": "Printable characters",
            "example": "production",
            "minLength": 1,
            "maxLength": MAX_ENVIRONMENT,
        },
    )
    config = fields.Dict(load_default=dict, metadata=CONFIG)


class DeploymentSummary(ma.Schema):
    deployment_id = id_field("The deployment")
    model_id = id_field("The model version")
    service_id = id_field("The service behind it")
    environment = fields.String()
    config = fields.Dict()
    created_at = time_field("When", nullable=False)


class DeploymentShown(DeploymentSummary):
    status = fields.String(metadata={"description": "Of its service; `deleted` when that is gone"})


class DeploymentPage(ma.Schema):
    deployments = fields.List(fields.Nested(DeploymentSummary()))
    next = next_field()


class DeploymentQuery(PageIn):
    model_id = Text(load_default=None, metadata={"description": "Only of this model version"})


def registered(model: ModelVersion) -> dict[str, Any]:
    return {
        "model_id": model.id,
        "status": model.state.value,
        "name": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "created_at": clock.iso(model.created_at),
    }


def shown(model: ModelVersion) -> dict[str, Any]:
    return {
        **registered(model),
        "framework": model.framework,
        "inputs": [_tensor(spec) for spec in model.signature.inputs],
        "outputs": [_tensor(spec) for spec in model.signature.outputs],
        "metadata": dict(model.metadata),
        "accuracy_metrics": dict(model.accuracy_metrics),
        "deployment_config": dict(model.deployment_config),
        "runs_code": model.runs_code,
        "memory_estimate": dict(model.estimate),
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def deployment(record: Deployment) -> dict[str, Any]:
    return {
        "deployment_id": record.id,
        "model_id": record.model_id,
        "service_id": record.service_id,
        "environment": record.environment,
        "config": dict(record.config),
        "created_at": clock.iso(record.created_at),
    }
