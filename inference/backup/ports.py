"""What the backup room needs from outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.access.ports import TenantStore
from inference.alerts.ports import AlertPorts
from inference.backup.model import Sections, Snapshot, Step
from inference.serving.ports import ServingPorts
from inference.setting_rooms import BackupSettings


class ConfigurationStore(Protocol):
    """The configuration as rows. `tenant_id` empty: of the whole system. Raises StoreUnavailable."""

    schema: str

    def read(self, tenant_id: str, *, with_keys: bool) -> Sections:
        """Every object, by section, in the order of their ids; all as of one instant."""
        ...

    def apply(self, tenant_id: str, decide: Callable[[Sections], Sequence[Step]], *, source: str) -> Sequence[Step]:
        """Carries out what `decide` says of the objects as they are now, in one transaction, audited; all or nothing.

        What `decide` raises undoes everything. `source`: the snapshot, for the audit record.
        """
        ...


class SnapshotStore(Protocol):
    """Kept archives. `tenant_id` None: of everybody. Making and removing one is audited. Raises StoreUnavailable."""

    def insert(self, snapshot: Snapshot, content: bytes) -> Snapshot: ...

    def list(self, tenant_id: str | None, *, limit: int, before_id: str | None = None) -> Sequence[Snapshot]:
        """Newest first."""
        ...

    def get(self, tenant_id: str | None, backup_id: str) -> Snapshot:
        """Raises BackupNotFound."""
        ...

    def content(self, tenant_id: str | None, backup_id: str) -> bytes:
        """Raises BackupNotFound."""
        ...

    def delete(self, tenant_id: str | None, backup_id: str) -> None:
        """Raises BackupNotFound."""
        ...

    def newest_digest(self) -> str | None:
        """Of the last one that was scheduled."""
        ...

    def forget(self, *, keep: int) -> int:
        """Removes the scheduled ones but for the newest; how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPorts:
    """`has_blob`: whether the content of that SHA-256 is there."""

    configuration: ConfigurationStore
    snapshots: SnapshotStore
    serving: ServingPorts
    alerts: AlertPorts
    tenants: TenantStore
    has_blob: Callable[[str], bool]
    settings: BackupSettings
