"""Nodes and their devices: what there is, what it does now, and what runs on it."""

from typing import Any

from api import context, paging
from api.blueprint import Blueprint
from api.documented import refuses
from api.schemas import nodes as schemas
from inference import errors
from inference.access.model import Reach, Role
from inference.resources.model import DeviceState
from inference.serving import hosts

blueprint = Blueprint("nodes", __name__, description="Hosts, and the devices that they have")

Json = dict[str, Any]


@blueprint.route("/gpus", needs=Role.VIEWER, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.DeviceQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.DevicePage(), example={"gpus": [schemas.DEVICE_EXAMPLE]})
def list_devices(asked: Json) -> Json:
    """List the devices of all nodes, with the figures of the last heartbeat

    By node, then by index; MIG devices follow their card. `source` says where figures come from: the driver (`nvml`),
    the configuration (`static`) or a recording (`replay`).
    """
    core, limit = context.core(), asked["limit"]
    if asked["cursor"] is not None and "/" not in asked["cursor"]:
        raise errors.InvalidField(
            "The query parameter `cursor` must be a `next` from an earlier answer.", field="cursor"
        )
    found = hosts.devices(
        core.serving,
        core.resources,
        node_id=asked["node_id"],
        state=DeviceState(asked["state"]) if asked["state"] else None,
        after=asked["cursor"],
        limit=limit + 1,
    )
    return paging.page("gpus", found, limit, lambda view: view.cursor, schemas.device)


@blueprint.route("/nodes", needs=Role.VIEWER, reach=Reach.SYSTEM)
@blueprint.arguments(schemas.NodeQuery(), location="query")
@refuses(errors.InvalidField, errors.UnknownField)
@blueprint.response(200, schemas.NodePage(), example={"nodes": [schemas.NODE_EXAMPLE]})
def list_nodes(asked: Json) -> Json:
    """List the nodes by id, with how busy they are"""
    core, limit = context.core(), asked["limit"]
    found = hosts.nodes(core.serving, core.resources, after=asked["cursor"], limit=limit + 1)
    return paging.page("nodes", found, limit, lambda view: view.node.id, schemas.summary)


@blueprint.route("/nodes/<node_id>", needs=Role.VIEWER, reach=Reach.SYSTEM)
@refuses(errors.NodeNotFound)
@blueprint.response(200, schemas.NodeShown())
def show_node(node_id: str) -> Json:
    """Show a node with its devices, its replicas and what they use"""
    core = context.core()
    return schemas.full(hosts.node(core.serving, core.resources, node_id=node_id))
