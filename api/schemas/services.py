"""Services on the wire: what calls accept, and how a service is shown."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import (
    A_TIME,
    AN_ID,
    ANOTHER_ID,
    PageIn,
    QueryNumber,
    Text,
    WholeNumber,
    id_field,
    id_in,
    next_field,
    time_field,
)
from api.schemas.models import FRAMEWORK, MODEL_NAME, MODEL_PATH
from api.schemas.service_config import CHANGES, CONFIG, PROPERTIES
from inference import clock
from inference.access.checks import MAX_WORKSPACE
from inference.serving.create import MAX_NAME
from inference.serving.model import Profile, Replica, Service, ServiceEvent, ServiceState
from inference.serving.query import ServiceView

STATES = [state.value for state in ServiceState]
CONFIG_EXAMPLE = {"replicas": 1, "resource_requirements": {"gpu": 0, "cpu": 1, "memory": "1Gi"}}
CREATE_EXAMPLES = {
    "by model": {"value": {"model_id": AN_ID, "name": "digits", "config": CONFIG_EXAMPLE}},
    "short form": {"value": {"name": "digits", "model_path": "/models/digits.onnx", "framework": "onnx"}},
}
UPDATE_EXAMPLES = {
    "config": {"value": {"config": {"max_batch": 16}}},
    "version": {"value": {"model_id": ANOTHER_ID}},
}
CREATED_EXAMPLE = {"service_id": AN_ID, "status": "pending", "created_at": A_TIME}
SERVICE_EXAMPLE = {
    "service_id": AN_ID,
    "model_id": ANOTHER_ID,
    "name": "digits",
    "workspace_id": "",
    "status": "running",
    "replicas": 1,
    "replicas_ready": 1,
    "instances": 1,
    "priority": 5,
    "instances_ready": 1,
    "config": CONFIG_EXAMPLE,
    "revision": 1,
    "profile": {
        "device": "cpu",
        "provider": "cpu",
        "max_batch": 64,
        "curve": [{"rows": 1, "median_ms": 0.1, "p99_ms": 0.2}, {"rows": 64, "median_ms": 0.9, "p99_ms": 1.4}],
        "measured_at": A_TIME,
    },
    "memory_per_instance": {"bytes": 5242880, "basis": "measured: growth of the process at load and its largest batch"},
    "created_at": A_TIME,
    "updated_at": A_TIME,
    "started_at": A_TIME,
    "stopped_at": None,
    "scaled_at": None,
}


FORBIDDEN: dict[str, Any] = {"not": {}}
"""The schema that nothing fits: a property that must not be there."""


class ServiceIn(ma.Schema):
    """S1 (`model_id`, `config`) or the short form S2 (`name`, `model_path`, `framework`)."""

    model_id = id_in("S1: a registered model version")
    name = Text(
        metadata={
            "description": "Shown in lists; unique; printable, without spaces around it. S2: the model's name too",
            "pattern": "^\\S(.*\\S)?$",
            "maxLength": MAX_NAME,
        }
    )
    config = fields.Dict(metadata=CONFIG)
    model_path = Text(metadata=MODEL_PATH)
    framework = Text(metadata=FRAMEWORK)
    description = Text(metadata={"description": "S2: kept in the model's metadata"})
    customer_id = Text(metadata={"description": "S2: kept in the model's metadata"})
    workspace_id = Text(
        metadata={
            "description": "The part of the tenant it belongs to; a key of one workspace creates in that one",
            "pattern": "^(\\S(.*\\S)?)?$",
            "maxLength": MAX_WORKSPACE,
        }
    )


OF_SHORT_FORM = ("model_path", "framework", "description", "customer_id")
ONE_OF_TWO = {
    "allOf": [ServiceIn()],
    "oneOf": [
        {
            "required": ["model_id"],
            "properties": dict.fromkeys(OF_SHORT_FORM, FORBIDDEN),
        },
        {
            "required": ["name", "model_path", "framework"],
            "properties": {"name": MODEL_NAME, "model_id": FORBIDDEN},
        },
    ],
}
"""What the schema's class cannot say: which fields go together."""


class ServiceCreated(ma.Schema):
    service_id = id_field("The service")
    status = fields.String(validate=validate.OneOf(STATES))
    created_at = time_field("When it was created", nullable=False)
    model_id = id_field("The model version behind it")
    endpoint_url = fields.String(metadata={"description": "S2: where tasks are posted"})
    api_key = fields.String(metadata={"description": "S2: a key for this service alone, shown this once"})


class UpdateIn(ma.Schema):
    config = fields.Dict(metadata=CHANGES)
    model_id = id_in("Another version of the same model, with the same inputs")


class ScaleIn(ma.Schema):
    replicas = WholeNumber(required=True, metadata=PROPERTIES["replicas"])
    instances = WholeNumber(metadata=PROPERTIES["instances"])


class Scaled(ma.Schema):
    service_id = id_field("The service")
    status = fields.String(validate=validate.OneOf(STATES))
    replicas = fields.Integer()
    instances = fields.Integer()
    scaled_at = time_field("When it was accepted")


class Started(ma.Schema):
    service_id = id_field("The service")
    status = fields.String(validate=validate.OneOf(STATES))
    started_at = time_field("When it was accepted")


class Stopped(ma.Schema):
    service_id = id_field("The service")
    status = fields.String(validate=validate.OneOf(STATES))
    stopped_at = time_field("When it was accepted")


class CurvePoint(ma.Schema):
    rows = fields.Integer()
    median_ms = fields.Float()
    p99_ms = fields.Float()


class ProfileShown(ma.Schema):
    """The batch curve that was measured when the model was loaded, and the batch size chosen from it."""

    device = fields.String()
    provider = fields.String()
    max_batch = fields.Integer()
    curve = fields.List(fields.Nested(CurvePoint))
    measured_at = time_field("When it was measured", nullable=False)


class MemoryShown(ma.Schema):
    """Of its card, or, on the CPU, of its host beside the bare process."""

    bytes = fields.Integer(metadata={"description": "0: nobody knows yet"})
    basis = fields.String(metadata={"description": "Where the number comes from: measured, estimated, or unknown"})


class ReplicaShown(ma.Schema):
    replica_id = id_field("The replica")
    ordinal = fields.Integer()
    node_id = fields.String()
    device = fields.String()
    status = fields.String()
    instances_ready = fields.Integer()
    restarts = fields.Integer()
    reason = fields.String(allow_none=True)


class ServiceSummary(ma.Schema):
    service_id = id_field("The service")
    model_id = id_field("The model version behind it")
    name = fields.String()
    workspace_id = fields.String(metadata={"description": "Empty: in none"})
    status = fields.String(validate=validate.OneOf(STATES))
    replicas = fields.Integer(metadata={"description": "Celery nodes wanted"})
    instances = fields.Integer(metadata={"description": "Engine processes per node"})
    priority = fields.Integer(metadata={"description": "1 to 10: 10 is placed first, and puts out lower ones"})
    reason = fields.String(metadata={"description": "Why it is in this state; absent when there is nothing to say"})
    suggested_action = fields.String(metadata={"description": "What to do about it"})
    config = fields.Dict()
    revision = fields.Integer()
    created_at = time_field("When it was created", nullable=False)
    updated_at = time_field("When it last changed", nullable=False)
    started_at = time_field("When its start was accepted")
    stopped_at = time_field("When its stop was accepted")
    scaled_at = time_field("When a new size was accepted")


class ServiceShown(ServiceSummary):
    replicas_ready = fields.Integer()
    instances_ready = fields.Integer()
    profile = fields.Nested(ProfileShown, allow_none=True)
    memory_per_instance = fields.Nested(MemoryShown(), metadata={"description": "What one instance takes"})
    profiles = fields.List(fields.Nested(ProfileShown), metadata={"description": "One per kind of device"})
    replica_list = fields.List(fields.Nested(ReplicaShown))


class ServicePage(ma.Schema):
    services = fields.List(fields.Nested(ServiceSummary))
    next = next_field()


class ServiceQuery(PageIn):
    status = fields.String(load_default=None, validate=validate.OneOf(STATES, error="It must be one of {choices}."))
    workspace_id = Text(load_default=None, metadata={"description": "Of this workspace; empty: of none"})


class EventShown(ma.Schema):
    at = time_field("When", nullable=False)
    from_ = fields.String(data_key="from", attribute="from")
    to = fields.String()
    reason = fields.String()


class History(ma.Schema):
    """Newest first."""

    events = fields.List(fields.Nested(EventShown))


class HistoryQuery(ma.Schema):
    limit = QueryNumber(load_default=100, validate=validate.Range(1, 1000, error="It must be from 1 to 1000."))


def summary(service: Service) -> dict[str, Any]:
    """A service as lists show it. `config` is what the client wrote, sizes as they are now."""
    shown: dict[str, Any] = {
        "service_id": service.id,
        "model_id": service.model_id,
        "name": service.name,
        "workspace_id": service.workspace,
        "status": service.state.value,
        "replicas": service.wanted_replicas,
        "instances": service.wanted_instances,
        "priority": service.config.priority,
        "config": dict(service.config.raw),
        "revision": service.revision,
    }
    for name in ("created_at", "updated_at", "started_at", "stopped_at", "scaled_at"):
        shown[name] = clock.iso(getattr(service, name))
    if service.is_resting and service.target_reason:
        shown["reason"] = service.target_reason
    for name in ("reason", "suggested_action"):
        if (text := getattr(service, name)) is not None:
            shown[name] = text
    return shown


def full(view: ServiceView) -> dict[str, Any]:
    """A service with its replicas and batch curves; `profile` is the curve of the device it runs on."""
    profiles = [_profile(profile) for profile in view.profiles]
    return {
        **summary(view.service),
        "replicas_ready": view.replicas_ready,
        "instances_ready": view.instances_ready,
        "profile": _of_its_device(view, profiles),
        "memory_per_instance": {"bytes": view.memory.bytes, "basis": view.memory.basis},
        "profiles": profiles,
        "replica_list": [_replica(replica) for replica in view.replicas],
    }


def _of_its_device(view: ServiceView, profiles: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest curve; on a CPU replica that of the CPU, where both were measured."""
    if not profiles:
        return None
    is_cpu = any(replica.device == "cpu" for replica in view.replicas)
    fitting = [profile for profile in profiles if str(profile["device"]).startswith("cpu") == is_cpu]
    return max(fitting or profiles, key=lambda profile: str(profile["measured_at"]))


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "device": profile.device_kind,
        "provider": profile.provider,
        "max_batch": profile.max_batch,
        "curve": [{"rows": rows, "median_ms": median, "p99_ms": p99} for rows, median, p99 in profile.curve],
        "measured_at": clock.iso(profile.measured_at),
    }


def _replica(replica: Replica) -> dict[str, Any]:
    return {
        "replica_id": replica.id,
        "ordinal": replica.ordinal,
        "node_id": replica.node_id,
        "device": replica.device,
        "status": replica.observed.value,
        "instances_ready": replica.instances_ready,
        "restarts": replica.restarts,
        "reason": replica.reason,
    }


def event(moved: ServiceEvent) -> dict[str, Any]:
    return {"at": clock.iso(moved.at), "from": moved.from_state, "to": moved.to_state, "reason": moved.reason}
