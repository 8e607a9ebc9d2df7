"""Collects garbage: uploads whose time is over, and contents that no row names."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import structlog

from inference.clock import monotonic_s
from inference.errors import PenstockError
from inference.ids import new_id
from inference.registry.ports import OldBlob, RegistryPorts

log = structlog.get_logger(__name__)

CHUNK = 500
BUDGET_S = 60.0
MARK = "blobs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one round took away."""

    uploads: int = 0
    blobs: int = 0
    bytes: int = 0


def collect(ports: RegistryPorts, *, grace_s: float, budget_s: float = BUDGET_S) -> Collected:
    """Removes what nobody needs; what the budget leaves is for the next call.

    A content is looked at when nobody has written it for `grace_s`: whoever writes one has that long until its row
    names it. It goes only if no row names it while it is out of sight, so a row that comes in that moment keeps it.
    """
    end, uploads, blobs, size = monotonic_s() + budget_s, 0, 0, 0
    while monotonic_s() < end:
        count = ports.uploads.expire(limit=CHUNK)
        uploads += count
        if count < CHUNK:
            break
    try:
        found = ports.blobs.old(age_s=grace_s) if _is_ours(ports) else iter(())
        while monotonic_s() < end and (some := list(islice(found, CHUNK))):
            for one in _unnamed(ports, some):
                if _take(ports, one):
                    blobs, size = blobs + 1, size + one.size_bytes
    except (PenstockError, OSError) as error:
        log.warning("blobs_not_collected", reason=str(error))
    collected = Collected(uploads=uploads, blobs=blobs, bytes=size)
    if uploads or blobs:
        log.info("garbage_collected", uploads=uploads, blobs=blobs, bytes=size)
    return collected


def _is_ours(ports: RegistryPorts) -> bool:
    """Whether this database is the one that names what lies here.

    Otherwise all of it would look like garbage to a database that somebody has just made, or to a second system with
    the same bucket. The first one to ask marks the store, and remembers the mark.
    """
    if ports.marks is None:
        return True
    mark = ports.blobs.mark()
    if not mark:
        wanted = new_id()
        ports.marks.take(MARK + wanted, every_s=0.0, by="collect")
        mark = ports.blobs.mark(wanted)
    if ports.marks.age_s(MARK + mark) is not None:
        return True
    log.warning("blobs_of_another_database", mark=mark)
    return False


def _unnamed(ports: RegistryPorts, some: list[OldBlob]) -> Iterator[OldBlob]:
    """And what is half done, whoever names its content: it may have to be brought back."""
    used = ports.models.used_blobs(sorted({one.key for one in some if one.key is not None}))
    return (one for one in some if one.key is None or one.key not in used or not one.is_whole)


def _take(ports: RegistryPorts, one: OldBlob) -> bool:
    try:
        return ports.blobs.collect(one, unless=partial(_is_used, ports, one.key))
    except (PenstockError, OSError) as error:
        log.warning("blob_not_collected", name=one.name, reason=str(error))
        return False


def _is_used(ports: RegistryPorts, key: str | None) -> bool:
    return key is not None and ports.models.blob_users(key) > 0
