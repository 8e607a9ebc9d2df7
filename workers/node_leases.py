"""What the node agent knows of leases: which process is behind one, and when nobody is any more."""

from collections.abc import Collection
from pathlib import Path

import structlog

from inference.resources.fit import CPU
from inference.resources.leases import Lease
from inference.serving.ports import LeaseStore

log = structlog.get_logger(__name__)

STARTED_FIELD = 22 - 3
"""Of /proc/PID/stat, counted from after the name: when the process started, in clock ticks since the boot.

Source: proc(5).
"""


def owner_of(pid: int) -> tuple[int, int] | None:
    """The process by its id and start time: the kernel gives an id again, but not both. None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else (pid, int(fields[STARTED_FIELD]))
    except (OSError, IndexError, ValueError):
        return None


def is_taken(device: str, left: Collection[str]) -> bool:
    """Whether a worker that is no longer this node's is still on the card. `left`: the devices of those.

    Such a one has no lease any more: its node was silent for long, and others have its place.
    """
    return device != CPU and device in left


def release_orphans(leases: LeaseStore, node_id: str) -> int:
    """Releases those of this host whose replica row and process are both gone; how many.

    A worker of a deleted service keeps its lease while it drains.
    """
    gone = [lease for lease in leases.orphans(node_id) if not _has_owner(lease)]
    for lease in gone:
        if leases.release_orphan(lease.replica_id):
            log.info("lease_released", replica_id=lease.replica_id, device=lease.device, owner_pid=lease.owner_pid)
    return len(gone)


def _has_owner(lease: Lease) -> bool:
    return lease.owner_pid is not None and owner_of(lease.owner_pid) == (lease.owner_pid, lease.owner_started)
