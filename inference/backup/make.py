"""Takes a snapshot of the configuration: when somebody asks, when beat does, or of another system's archive."""

from importlib import metadata

import structlog

from inference import clock
from inference.backup import archive, plan
from inference.backup.model import Archive, Object, Origin, Snapshot
from inference.backup.ports import BackupPorts
from inference.ids import new_id

log = structlog.get_logger(__name__)


def read(ports: BackupPorts, *, tenant_id: str, with_keys: bool = False) -> Archive:
    """What the configuration is now. `tenant_id` empty: of the whole system. Raises StoreUnavailable.

    A tenant's own holds nothing of the system's: no prices, no budgets that a system key has set, no system keys.
    """
    found = ports.configuration.read(tenant_id, with_keys=with_keys)
    kept = plan.own(found) if tenant_id else {name: list(objects) for name, objects in found.items()}
    kept["keys"] = [_plain(one) for one in kept["keys"] if one.get("revoked_at") is None]
    return Archive(
        made_at=clock.iso(clock.epoch_s()) or "",
        version=metadata.version("penstock"),
        schema=ports.configuration.schema,
        tenant_id=tenant_id,
        with_keys=with_keys,
        sections=kept,
    )


def _plain(key: Object) -> Object:
    return key if key.get("digest") else {name: value for name, value in key.items() if name != "digest"}


def make(ports: BackupPorts, *, tenant_id: str, with_keys: bool = False) -> Snapshot:
    """The kept snapshot. Raises TenantNotFound, StoreUnavailable."""
    if tenant_id:
        ports.tenants.get(tenant_id)
    return _keep(ports, read(ports, tenant_id=tenant_id, with_keys=with_keys), Origin.ASKED)


def take_in(ports: BackupPorts, content: Archive) -> Snapshot:
    """An archive from elsewhere, kept as one of this system's. Nothing is restored yet."""
    return _keep(ports, content, Origin.IMPORTED)


def make_if_changed(ports: BackupPorts) -> Snapshot | None:
    """Of the whole system, for the schedule; None when it says what the last scheduled one said. Forgets old ones."""
    now = read(ports, tenant_id="")
    if archive.digest(now.sections) == ports.snapshots.newest_digest():
        return None
    kept = _keep(ports, now, Origin.SCHEDULED)
    ports.snapshots.forget(keep=ports.settings.keep)
    log.info("backup_made", backup_id=kept.id, size_bytes=kept.size_bytes)
    return kept


def _keep(ports: BackupPorts, content: Archive, origin: Origin) -> Snapshot:
    text = archive.write(content)
    snapshot = Snapshot(
        id=new_id(),
        tenant_id=content.tenant_id,
        origin=origin,
        digest=archive.digest(content.sections),
        objects={name: len(objects) for name, objects in content.sections.items()},
        size_bytes=len(text),
    )
    return ports.snapshots.insert(snapshot, text)
