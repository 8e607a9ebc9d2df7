"""The pool on the wire: totals, nodes, devices and services, each with what is held of it."""

from typing import Any

import marshmallow as ma
from marshmallow import fields

from api.schemas.common import AN_ID, ANOTHER_ID, id_field
from inference.resources.leases import LeaseState
from inference.serving.pool import DevicePart, NodePart, Part, Pool, ReplicaUse, ServiceUse, sum_of, total_of

GIB = 1 << 30
_PART = {"total": 24 * GIB, "reserved": 0, "allocated": 10 * GIB, "unloading": 0, "free": 14 * GIB}
_CPUS = {"total": 16.0, "reserved": 0.0, "allocated": 2.0, "unloading": 0.0, "free": 14.0}
_USE = {"device_memory_bytes": 10 * GIB, "cpus": 2.0, "memory_bytes": 4 * GIB}
POOL_EXAMPLE = {
    "totals": {"nodes": 1, "devices": 1, "device_memory_bytes": _PART, "cpus": _CPUS, "memory_bytes": _PART},
    "nodes": [{"node_id": "gpu-1-5d41402a", "cpus": _CPUS, "memory_bytes": _PART}],
    "devices": [
        {"node_id": "gpu-1-5d41402a", "device": "GPU-3a1d", "memory_bytes": _PART, "replicas": 1, "is_whole": False}
    ],
    "services": [
        {
            "service_id": AN_ID,
            "tenant_id": "default",
            "name": "digits",
            "status": "running",
            "priority": 5,
            "replicas": 1,
            "devices": 1,
            **_USE,
        }
    ],
}
USAGE_EXAMPLE = {
    "service_id": AN_ID,
    "priority": 5,
    "replicas": 1,
    "devices": 1,
    **_USE,
    "replica_list": [
        {
            "replica_id": ANOTHER_ID,
            "ordinal": 0,
            "node_id": "gpu-1-5d41402a",
            "device": "GPU-3a1d",
            "is_whole": False,
            "lease": "allocated",
            "waits_for": [],
            **_USE,
            "usage": {"cpu_percent": 40.0, "cpu_s": 12.5, "rss_bytes": 419_430_400, "processes": 2},
        }
    ],
}


class CpusShown(ma.Schema):
    """`reserved`: promised, its replica starts or waits. `unloading`: its process has ended, the memory may lag."""

    total = fields.Float()
    reserved = fields.Float()
    allocated = fields.Float()
    unloading = fields.Float()
    free = fields.Float()


class BytesShown(ma.Schema):
    """As of CPUs."""

    total = fields.Integer()
    reserved = fields.Integer()
    allocated = fields.Integer()
    unloading = fields.Integer()
    free = fields.Integer()


class Totals(ma.Schema):
    nodes = fields.Integer(metadata={"description": "That are alive"})
    devices = fields.Integer(metadata={"description": "That work may be placed on"})
    device_memory_bytes = fields.Nested(BytesShown())
    cpus = fields.Nested(CpusShown())
    memory_bytes = fields.Nested(BytesShown())


class NodeHeld(ma.Schema):
    node_id = fields.String()
    cpus = fields.Nested(CpusShown())
    memory_bytes = fields.Nested(BytesShown())


class DeviceHeld(ma.Schema):
    node_id = fields.String()
    device = fields.String(metadata={"description": "Its UUID"})
    memory_bytes = fields.Nested(BytesShown())
    replicas = fields.Integer(metadata={"description": "How many are on it"})
    is_whole = fields.Boolean(metadata={"description": "One of them has it for itself"})


class Held(ma.Schema):
    device_memory_bytes = fields.Integer(metadata={"description": "Of devices"})
    cpus = fields.Float(metadata={"description": "Reserved, not used"})
    memory_bytes = fields.Integer(metadata={"description": "Of hosts; reserved, not used"})


class ServiceHeld(Held):
    service_id = id_field("The service")
    tenant_id = fields.String()
    name = fields.String()
    status = fields.String()
    priority = fields.Integer(metadata={"description": "1 to 10, 10 first"})
    replicas = fields.Integer(metadata={"description": "Replicas that hold something"})
    devices = fields.Integer(metadata={"description": "Cards that it is on, alone or not"})


class PoolShown(ma.Schema):
    totals = fields.Nested(Totals())
    nodes = fields.List(fields.Nested(NodeHeld()))
    devices = fields.List(fields.Nested(DeviceHeld()))
    services = fields.List(fields.Nested(ServiceHeld()))


class ReplicaHeld(Held):
    replica_id = id_field("The replica")
    ordinal = fields.Integer()
    node_id = fields.String()
    device = fields.String()
    is_whole = fields.Boolean()
    lease = fields.String(allow_none=True, metadata={"enum": [state.value for state in LeaseState]})
    waits_for = fields.List(fields.String(), metadata={"description": "Replicas that leave to make room for this one"})
    usage = fields.Dict(allow_none=True, metadata={"description": "Of its processes, at the last heartbeat"})


class ServiceUsage(Held):
    service_id = id_field("The service")
    priority = fields.Integer()
    replicas = fields.Integer()
    devices = fields.Integer()
    replica_list = fields.List(fields.Nested(ReplicaHeld()))


def pool(shown: Pool) -> dict[str, Any]:
    return {
        "totals": {
            "nodes": len(shown.nodes),
            "devices": len(shown.devices),
            "device_memory_bytes": _part(sum_of(device.memory for device in shown.devices)),
            "cpus": _part(sum_of(node.cpus for node in shown.nodes)),
            "memory_bytes": _part(sum_of(node.memory for node in shown.nodes)),
        },
        "nodes": [_node(node) for node in shown.nodes],
        "devices": [_device(device) for device in shown.devices],
        "services": [_service(use) for use in shown.services],
    }


def _part(part: Part) -> dict[str, float]:
    return {"total": part.total, **{state.value: part.held[state] for state in LeaseState}, "free": part.free}


def _node(node: NodePart) -> dict[str, Any]:
    return {"node_id": node.node_id, "cpus": _part(node.cpus), "memory_bytes": _part(node.memory)}


def _device(device: DevicePart) -> dict[str, Any]:
    return {
        "node_id": device.node_id,
        "device": device.device,
        "memory_bytes": _part(device.memory),
        "replicas": device.holders,
        "is_whole": device.is_whole,
    }


def _service(use: ServiceUse) -> dict[str, Any]:
    service = use.service
    return {
        "service_id": service.id,
        "tenant_id": service.tenant_id,
        "name": service.name,
        "status": service.state.value,
        "priority": service.config.priority,
        "replicas": len(use.leases),
        "devices": use.devices,
        **_held(use.held.card_bytes, use.held.cpu_milli, use.held.memory_bytes),
    }


def _held(card_bytes: int, cpu_milli: int, memory_bytes: int) -> dict[str, Any]:
    return {"device_memory_bytes": card_bytes, "cpus": cpu_milli / 1000, "memory_bytes": memory_bytes}


def usage(use: ServiceUse) -> dict[str, Any]:
    """What a service holds, in all and by replica."""
    return {
        "service_id": use.service.id,
        "priority": use.service.config.priority,
        "replicas": len(use.leases),
        "devices": use.devices,
        **_held(use.held.card_bytes, use.held.cpu_milli, use.held.memory_bytes),
        "replica_list": [_replica(one) for one in use.replicas],
    }


def _replica(one: ReplicaUse) -> dict[str, Any]:
    lease, replica = one.lease, one.replica
    held = total_of([lease.held] if lease else [])
    return {
        "replica_id": replica.id,
        "ordinal": replica.ordinal,
        "node_id": replica.node_id,
        "device": replica.device,
        "is_whole": lease is not None and lease.held.is_whole,
        "lease": None if lease is None else lease.state.value,
        "waits_for": list(one.waits_for),
        **_held(held.card_bytes, held.cpu_milli, held.memory_bytes),
        "usage": dict(replica.usage) or None,
    }
