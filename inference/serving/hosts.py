"""What the nodes have and what runs on it: devices and nodes as operators see them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from inference.errors import NodeNotFound
from inference.resources.leases import Lease
from inference.resources.model import DeviceState, SeenDevice
from inference.resources.ports import ResourcesPorts
from inference.serving.model import Node, Replica
from inference.serving.ports import ServingPorts


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device, and the replicas that were placed on it. `leased_bytes`: what is held of its memory, used or not."""

    seen: SeenDevice
    replicas: tuple[Replica, ...] = ()
    leased_bytes: int = 0

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
    on = _Held(serving.replicas.all(), serving.leases.all()) if found else NOBODY
    views = [on.view(seen) for seen in found if state in (None, seen.device.state)]
    return _after(views, after)[:limit]


def nodes(
    serving: ServingPorts, resources: ResourcesPorts, *, after: str | None = None, limit: int = 100
) -> list[NodeView]:
    """By id. `after`: the id of the one before the first."""
    silence_s = serving.settings.node_silence_s
    found = [node for node in serving.nodes.list(silence_s=silence_s) if after is None or node.id > after]
    seen = resources.devices.list(silence_s=silence_s)
    return _views(found[:limit], seen, serving.replicas.all(), serving.leases.all())


def node(serving: ServingPorts, resources: ResourcesPorts, *, node_id: str) -> NodeView:
    """Raises NodeNotFound."""
    silence_s = serving.settings.node_silence_s
    found = [node for node in serving.nodes.list(silence_s=silence_s) if node.id == node_id]
    if not found:
        raise NodeNotFound(f"There is no node `{node_id[:128]}`.", node_id=node_id[:128])
    seen = resources.devices.list(silence_s=silence_s, node_id=node_id)
    return _views(found, seen, serving.replicas.of_node(node_id), serving.leases.all())[0]


def _views(
    found: Sequence[Node], seen: Sequence[SeenDevice], replicas: Sequence[Replica], leases: Sequence[Lease]
) -> list[NodeView]:
    on = _Held(replicas, leases)
    return [
        NodeView(
            node=node,
            devices=tuple(on.view(one) for one in seen if one.node_id == node.id),
            replicas=tuple(replica for replica in replicas if replica.node_id == node.id),
        )
        for node in found
    ]


class _Held:
    """Who is on each device, and what they hold of it."""

    def __init__(self, replicas: Sequence[Replica], leases: Sequence[Lease]) -> None:
        self._replicas: defaultdict[tuple[str, str], list[Replica]] = defaultdict(list)
        self._leases: defaultdict[tuple[str, str], list[Lease]] = defaultdict(list)
        for replica in replicas:
            self._replicas[replica.node_id, replica.device].append(replica)
        for lease in leases:
            self._leases[lease.node_id, lease.device].append(lease)

    def view(self, seen: SeenDevice) -> DeviceView:
        """One that is held as a whole is held with all of its memory."""
        where, total = (seen.node_id, seen.device.uuid), seen.device.memory_bytes
        leases = self._leases.get(where, ())
        is_whole = any(lease.held.is_whole for lease in leases)
        leased = total if is_whole else sum(lease.held.card_bytes for lease in leases)
        return DeviceView(seen=seen, replicas=tuple(self._replicas.get(where, ())), leased_bytes=leased)


NOBODY = _Held((), ())


def _after(views: list[DeviceView], cursor: str | None) -> list[DeviceView]:
    """Where the device of the cursor has left meanwhile, its whole node is taken as shown."""
    if cursor is None:
        return views
    for position, view in enumerate(views):
        if view.cursor == cursor:
            return views[position + 1 :]
    node_id = cursor.rpartition("/")[0]
    return [view for view in views if view.seen.node_id > node_id]
