"""What the room needs from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.resources.model import SeenDevice


class DeviceStore(Protocol):
    """Devices as their nodes told them; written with the heartbeat (`NodeStore.beat`)."""

    def list(self, *, silence_s: float, node_id: str | None = None) -> Sequence[SeenDevice]:
        """Every device of every node, or of one, by node and then by index; the parts of a card after it.

        A node that was not heard for `silence_s` is not alive.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesPorts:
    devices: DeviceStore
