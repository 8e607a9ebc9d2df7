"""What the nodes have and what runs on it: devices and nodes as operators see them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference.errors import NodeNotFound
from inference.resources.model import DeviceState, SeenDevice
from inference.resources.ports import ResourcesPorts
from inference.serving.model import Node, Replica
from inference.serving.ports import ServingPorts


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device, and the replicas that were placed on it. `reserved_bytes`: what they hold of its memory."""

    seen: SeenDevice
    replicas: tuple[Replica, ...] = ()
    reserved_bytes: int | None = None

    @property
    def cursor(self) -> str:
        return f"{self.seen.node_id}/{self.seen.device.uuid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A host with its devices, as it listed them, and its replicas."""

    node: Node
    devices: tuple[DeviceView, ...]
    replicas: tuple[Replica, ...]


def devices(
    serving: ServingPorts,
    resources: ResourcesPorts,
    *,
    node_id: str | None = None,
    state: DeviceState | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[DeviceView]:
    """By node, then by index, the parts of a card after it. `after`: the cursor of the one before the first."""
    silence_s = serving.settings.node_silence_s
    found = resources.devices.list(silence_s=silence_s, node_id=node_id)
    on = _by_device(serving.replicas.all() if found else ())
    views = [_device(seen, on) for seen in found if state in (None, seen.device.state)]
    return _after(views, after)[:limit]


def nodes(
    serving: ServingPorts, resources: ResourcesPorts, *, after: str | None = None, limit: int = 100
) -> list[NodeView]:
    """By id. `after`: the id of the one before the first."""
    silence_s = serving.settings.node_silence_s
    found = [node for node in serving.nodes.list(silence_s=silence_s) if after is None or node.id > after]
    return _views(found[:limit], resources.devices.list(silence_s=silence_s), serving.replicas.all())


def node(serving: ServingPorts, resources: ResourcesPorts, *, node_id: str) -> NodeView:
    """Raises NodeNotFound."""
    silence_s = serving.settings.node_silence_s
    found = [node for node in serving.nodes.list(silence_s=silence_s) if node.id == node_id]
    if not found:
        raise NodeNotFound(f"There is no node `{node_id[:128]}`.", node_id=node_id[:128])
    seen = resources.devices.list(silence_s=silence_s, node_id=node_id)
    return _views(found, seen, serving.replicas.of_node(node_id))[0]


def _views(found: Sequence[Node], seen: Sequence[SeenDevice], replicas: Sequence[Replica]) -> list[NodeView]:
    on = _by_device(replicas)
    return [
        NodeView(
            node=node,
            devices=tuple(_device(one, on) for one in seen if one.node_id == node.id),
            replicas=tuple(replica for replica in replicas if replica.node_id == node.id),
        )
        for node in found
    ]


def _by_device(replicas: Sequence[Replica]) -> Mapping[tuple[str, str], list[Replica]]:
    found: defaultdict[tuple[str, str], list[Replica]] = defaultdict(list)
    for replica in replicas:
        found[replica.node_id, replica.device].append(replica)
    return found


def _device(seen: SeenDevice, on: Mapping[tuple[str, str], list[Replica]]) -> DeviceView:
    return DeviceView(seen=seen, replicas=tuple(on.get((seen.node_id, seen.device.uuid), ())))


def _after(views: list[DeviceView], cursor: str | None) -> list[DeviceView]:
    """Where the device of the cursor has left meanwhile, its whole node is taken as shown."""
    if cursor is None:
        return views
    for position, view in enumerate(views):
        if view.cursor == cursor:
            return views[position + 1 :]
    node_id = cursor.rpartition("/")[0]
    return [view for view in views if view.seen.node_id > node_id]
