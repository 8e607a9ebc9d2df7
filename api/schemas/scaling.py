"""What is told of the autoscaler: a service's size, the size it should have, and the decisions that led there."""

import json
from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields

from api.schemas.common import PageIn, Text, next_field, time_field
from inference import clock
from inference.scaling.ports import DecisionRecord
from inference.serving.model import AutoScaling, Service
from inference.serving.query import ServiceView


class Size(ma.Schema):
    replicas = fields.Integer()
    instances = fields.Integer(metadata={"description": "Engine processes of each replica"})


class DecisionShown(ma.Schema):
    decision_id = fields.String()
    service_id = fields.String()
    at = time_field("When it was taken", nullable=False)
    from_ = fields.Nested(Size(), data_key="from", attribute="from")
    to = fields.Nested(Size())
    policy = fields.String(metadata={"description": "The policy, or `wake` or `idle_reclaim`"})
    reason = fields.String()
    signals = fields.Dict(metadata={"description": "The figures it was taken by"})


class DecisionPage(ma.Schema):
    decisions = fields.List(fields.Nested(DecisionShown))
    next = next_field()


class DecisionQuery(PageIn):
    service_id = Text(load_default=None, metadata={"description": "Of this service alone"})


class ScalingShown(ma.Schema):
    service_id = fields.String()
    enabled = fields.Boolean(metadata={"description": "Whether the autoscaler sizes this service"})
    policy = fields.String()
    limits = fields.Dict(metadata={"description": "Its `auto_scaling`, with what was left to defaults"})
    target = fields.Nested(Size(), metadata={"description": "The size that it should have now"})
    reason = fields.String(metadata={"description": "Why, when that is not the size of its config"})
    is_resting = fields.Boolean(metadata={"description": "Nothing of it runs; the next request starts it"})
    replicas_ready = fields.Integer()
    instances_ready = fields.Integer()
    decisions = fields.List(fields.Nested(DecisionShown), metadata={"description": "The last ten, newest first"})


DECISION_EXAMPLE = {
    "decision_id": "01a1f9c0a2857a0ab8ba6d9b9b247912",
    "service_id": "01a1f9c0a2667329a73a31fa59b4d187",
    "at": "2026-11-20T12:00:00.000Z",
    "from": {"replicas": 1, "instances": 1},
    "to": {"replicas": 1, "instances": 4},
    "policy": "slo_drain",
    "reason": "1 -> 4: 193 jobs wait, 19.8 s of work each instance, objective 2 s",
    "signals": {},
}


def decision(record: DecisionRecord) -> dict[str, Any]:
    """One decision, as lists show it."""
    return {
        "decision_id": record.id,
        "service_id": record.service_id,
        "at": clock.iso(record.at),
        "from": {"replicas": record.from_replicas, "instances": record.from_instances},
        "to": {"replicas": record.to_replicas, "instances": record.to_instances},
        "policy": record.policy,
        "reason": record.reason,
        "signals": json.loads(record.signals),
    }


def scaling(view: ServiceView) -> dict[str, Any]:
    """How a service is sized now; the decisions are added by the view."""
    service: Service = view.service
    shown: dict[str, Any] = {
        "service_id": service.id,
        "enabled": service.config.auto_scaling.enabled,
        "policy": service.config.auto_scaling.policy,
        "limits": _limits(service.config.auto_scaling),
        "target": {"replicas": service.wanted_replicas, "instances": service.wanted_instances},
        "is_resting": service.is_resting,
        "replicas_ready": view.replicas_ready,
        "instances_ready": view.instances_ready,
    }
    is_sized = service.config.auto_scaling.enabled or service.is_resting
    if is_sized and service.target_reason:
        shown["reason"] = service.target_reason
    return shown


def _limits(scaling: AutoScaling) -> Mapping[str, Any]:
    names = ("min_replicas", "max_replicas", "min_instances", "max_instances", "objective_s", "hold_down_s")
    return {name: getattr(scaling, name) for name in names}
