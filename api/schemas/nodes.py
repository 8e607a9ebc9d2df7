"""Nodes and devices on the wire."""

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas.common import A_TIME, AN_ID, ANOTHER_ID, PageIn, Text, id_field, time_field
from inference import clock
from inference.resources.model import Device, DeviceState, Source
from inference.serving.hosts import DeviceView, NodeView
from inference.serving.model import Node, Replica

STATES = [state.value for state in DeviceState]
SOURCES = [source.value for source in Source]
CURSOR_LENGTH = 256
MB = 1 << 20
DEVICE_EXAMPLE = {
    "index": 0,
    "uuid": "GPU-3a1d4a0c-6f9e-4b4e-9d0e-5a7c5f1f1b11",
    "name": "NVIDIA H200",
    "node_id": "gpu-1-5d41402a",
    "node_is_alive": True,
    "state": "ok",
    "source": "nvml",
    "parent_uuid": None,
    "memory_bytes": 150_754_820_096,
    "memory_total_mb": 143_771,
    "memory_used_mb": 20_480,
    "memory_free_mb": 122_650,
    "memory_leased_mb": 24_576,
    "utilisation_percent": 37.0,
    "temperature_c": 41.0,
    "power_w": 312.5,
    "throttle": [],
    "ecc_corrected": 0,
    "ecc_uncorrected": 0,
    "xid": None,
    "xid_at": None,
    "xids": 0,
    "reported_at": A_TIME,
    "services": [{"service_id": AN_ID, "replica_id": ANOTHER_ID, "status": "ready"}],
}
NODE_EXAMPLE = {
    "node_id": "gpu-1-5d41402a",
    "host": "gpu-1",
    "is_alive": True,
    "heartbeat_at": A_TIME,
    "cpus": 16.0,
    "memory_bytes": 137_438_953_472,
    "cpu_percent": 12.5,
    "memory_percent": 40.0,
    "can_cuda": True,
    "source": "static",
    "devices": 1,
    "replicas": 1,
}


def _said(kind: type[fields.Field[Any]], description: str) -> Any:
    """A figure that a device may not give."""
    return kind(allow_none=True, metadata={"description": description})


class OnDevice(ma.Schema):
    service_id = id_field("The service")
    replica_id = id_field("Its replica here")
    status = fields.String()


class DeviceShown(ma.Schema):
    """Figures are those of the last heartbeat, at most 3 s old while the node lives; null: the device does not say."""

    index = fields.Integer(metadata={"description": "As the driver counts now; for parts, within their card"})
    uuid = fields.String()
    name = fields.String()
    node_id = fields.String()
    node_is_alive = fields.Boolean()
    state = fields.String(validate=validate.OneOf(STATES))
    source = fields.String(validate=validate.OneOf(SOURCES), metadata={"description": "Where the figures come from"})
    parent_uuid = _said(fields.String, "Of a MIG device: its card")
    memory_bytes = fields.Integer()
    memory_total_mb = fields.Integer(metadata={"description": "MB are 1,048,576 bytes, as the driver counts"})
    memory_used_mb = _said(fields.Integer, "In use, by whomever")
    memory_free_mb = _said(fields.Integer, "Neither used nor kept by the driver")
    memory_leased_mb = fields.Integer(metadata={"description": "Held by replicas, whether they use it yet or not"})
    utilisation_percent = _said(fields.Float, "Of the time, in which a kernel ran")
    temperature_c = _said(fields.Float, "Temperature")
    power_w = _said(fields.Float, "Power drawn")
    throttle = fields.List(
        fields.String(), allow_none=True, metadata={"description": "Why it runs slower than it could"}
    )
    ecc_corrected = _said(fields.Integer, "Memory errors since the driver was loaded")
    ecc_uncorrected = _said(fields.Integer, "Memory errors since the driver was loaded")
    xid = _said(fields.Integer, "Code of the driver's last error report")
    xid_at = time_field("When that came")
    xids = _said(fields.Integer, "Such reports since the node began")
    reported_at = time_field("When the node told this", nullable=False)
    services = fields.List(fields.Nested(OnDevice()), metadata={"description": "What was placed on it"})


class DevicePage(ma.Schema):
    gpus = fields.List(fields.Nested(DeviceShown()))
    next = fields.String(metadata={"description": "Cursor of the next page; absent on the last"})


class _PageIn(PageIn):
    cursor = Text(
        load_default=None,
        validate=validate.Length(max=CURSOR_LENGTH, error="It must be a `next` from an earlier answer."),
        metadata={"description": "`next` of the page before", "maxLength": CURSOR_LENGTH},
    )


class DeviceQuery(_PageIn):
    node_id = Text(load_default=None, metadata={"description": "Only of this node"})
    state = fields.String(
        load_default=None,
        validate=validate.OneOf(STATES, error="It must be one of {choices}."),
        metadata={"description": "Only in this state"},
    )


class NodeQuery(_PageIn):
    """Nodes are listed by id."""


class NodeSummary(ma.Schema):
    """CPUs and memory are what Penstock may use of the host; the percentages are of that."""

    node_id = fields.String()
    host = fields.String()
    is_alive = fields.Boolean(metadata={"description": "Heard lately"})
    heartbeat_at = time_field("When it was last heard", nullable=False)
    cpus = _said(fields.Float, "CPUs")
    memory_bytes = _said(fields.Integer, "Memory")
    cpu_percent = _said(fields.Float, "Busy over the last 3 s, 0 to 100")
    memory_percent = _said(fields.Float, "In use, 0 to 100")
    can_cuda = fields.Boolean(metadata={"description": "The engine runtime installed there is the one for GPUs"})
    source = _said(fields.String, "Where CPUs and memory come from")
    devices = fields.Integer(metadata={"description": "How many it has"})
    replicas = fields.Integer(metadata={"description": "How many were placed on it"})


class NodePage(ma.Schema):
    nodes = fields.List(fields.Nested(NodeSummary()))
    next = fields.String(metadata={"description": "Cursor of the next page; absent on the last"})


class ReplicaUsage(ma.Schema):
    cpu_percent = fields.Float(metadata={"description": "Of one core"})
    cpu_s = fields.Float(metadata={"description": "Since its worker began"})
    rss_bytes = fields.Integer(metadata={"description": "Memory; pages that processes share count for each"})
    processes = fields.Integer()


class ReplicaOnNode(OnDevice):
    device = fields.String()
    instances_ready = fields.Integer()
    usage = fields.Nested(ReplicaUsage(), allow_none=True, metadata={"description": "Of all its processes together"})


class NodeShown(NodeSummary):
    gpus = fields.List(fields.Nested(DeviceShown()))
    replica_list = fields.List(fields.Nested(ReplicaOnNode()))


def device(view: DeviceView) -> dict[str, Any]:
    seen, told = view.seen, view.seen.device.figures
    return {
        **_fixed(seen.device),
        "node_id": seen.node_id,
        "node_is_alive": seen.is_alive,
        "memory_used_mb": _mb(told.memory_used_bytes),
        "memory_free_mb": _mb(told.memory_free_bytes),
        "memory_leased_mb": _mb(view.leased_bytes),
        "utilisation_percent": told.utilisation_percent,
        "temperature_c": told.temperature_c,
        "power_w": told.power_w,
        "throttle": None if told.throttle is None else list(told.throttle),
        "ecc_corrected": told.ecc_corrected,
        "ecc_uncorrected": told.ecc_uncorrected,
        "xid": told.xid,
        "xid_at": clock.iso(told.xid_at),
        "xids": told.xids,
        "reported_at": clock.iso(seen.reported_at),
        "services": [_on_device(replica) for replica in view.replicas],
    }


def _fixed(told: Device) -> dict[str, Any]:
    return {
        "index": told.index,
        "uuid": told.uuid,
        "name": told.name,
        "state": told.state.value,
        "source": told.source.value,
        "parent_uuid": told.parent_uuid,
        "memory_bytes": told.memory_bytes,
        "memory_total_mb": _mb(told.memory_bytes),
    }


def _mb(count: int | None) -> int | None:
    return None if count is None else count // MB


def _on_device(replica: Replica) -> dict[str, Any]:
    return {
        "service_id": replica.service_id,
        "replica_id": replica.id,
        "status": replica.observed.value,
    }


def summary(view: NodeView) -> dict[str, Any]:
    return {
        **_node(view.node),
        "devices": len(view.devices),
        "replicas": len(view.replicas),
    }


def _node(node: Node) -> dict[str, Any]:
    told = ("cpus", "memory_bytes", "cpu_percent", "memory_percent", "source")
    return {
        "node_id": node.id,
        "host": node.host,
        "is_alive": node.is_alive,
        "heartbeat_at": clock.iso(node.heartbeat_at),
        "can_cuda": bool(node.inventory.get("can_cuda")),
        **{name: node.inventory.get(name) for name in told},
    }


def full(view: NodeView) -> dict[str, Any]:
    """A node with its devices and replicas."""
    return {
        **summary(view),
        "gpus": [device(one) for one in view.devices],
        "replica_list": [
            {
                **_on_device(replica),
                "device": replica.device,
                "instances_ready": replica.instances_ready,
                "usage": dict(replica.usage) or None,
            }
            for replica in view.replicas
        ],
    }
