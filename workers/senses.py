"""What a node knows of itself at each heartbeat: its host, its devices, and what its replicas use."""

from collections.abc import Mapping
from typing import Any

import msgspec

from inference.resources import host, inventory, probe
from inference.resources.host import LoadMeter
from inference.resources.model import HostReading
from inference.resources.poller import Poller
from inference.resources.processes import UsageMeter
from inference.settings import ResourcesSettings


class Senses:
    """Begins to read the devices at once. All but `reading` is for one thread."""

    def __init__(self, settings: ResourcesSettings, *, visible: str | None) -> None:
        """`visible`: CUDA_VISIBLE_DEVICES as the agent found it. Raises BadSettings."""
        self._purchase = settings.purchase
        self._host = host.look()
        self._load = LoadMeter(self._host)
        self._usage = UsageMeter()
        self._poller = Poller(probe.connect(settings, visible=visible), every_s=settings.probe_s)

    def reading(self) -> HostReading:
        """The devices, at most a period of the poller old. Safe in any thread."""
        return self._poller.latest()

    def told(self, pids: Mapping[str, int]) -> dict[str, Any]:
        """What a heartbeat says (`NodeStore.beat`). `pids`: the worker of each replica. CPU is that since the last."""
        reading = self.reading()
        inventoried = inventory.of_node(self._host, reading, self._load.read())
        used = self._usage.read(pids.values())
        return {
            "inventory": {**inventoried, "purchase": self._purchase},
            "devices": reading.devices,
            "usage": {name: msgspec.to_builtins(used[pid]) for name, pid in pids.items() if pid in used},
        }

    def close(self) -> None:
        self._poller.close()
