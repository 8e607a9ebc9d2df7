"""What the registry needs from outside."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from inference.access.model import Scope
from inference.access.quotas import Quotas
from inference.registry.inspect import inspect
from inference.registry.model import ModelState, ModelVersion
from inference.registry.trial import Trial
from inference.settings import EnginesSettings, RegistrySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """`key` is the SHA-256 of the content, in hex."""

    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(StoredBlob):
    """A file that a tenant sent; `expires_at`: when it goes, None for never."""

    id: str
    created_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OldBlob:
    """A content of the store as it was found. `name`: its own word for where it lies; `key` None: of no content.

    `is_whole`: at its place, under its key; otherwise half written, or half taken away.
    """

    name: str
    key: str | None
    size_bytes: int
    written_at: float
    is_whole: bool = True


class BlobStore(Protocol):
    """Immutable, content-addressed bytes. What lies under a key never changes."""

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, limit_bytes: int) -> StoredBlob:
        """Whole or not at all (temporary file, fsync, rename; mode 0444). Raises TooLarge, NoRoom."""
        ...

    def put_bytes(self, content: bytes) -> StoredBlob: ...

    def path(self, key: str) -> Path:
        """A local file with the content; never write to it. Raises NotFound."""
        ...

    def has(self, key: str) -> bool:
        """Whether the content is there; costs less than `path` where that has to fetch it."""
        ...

    def delete(self, key: str, *, unless: Callable[[], bool] | None = None) -> None:
        """Nothing happens when it is not there. `unless` is asked with the content out of sight; True restores it."""
        ...

    def mark(self, text: str = "") -> str:
        """What the store is marked with, for good: `text`, unless somebody marked it before; empty if nobody did."""
        ...

    def old(self, *, age_s: float) -> Iterator[OldBlob]:
        """Everything that nobody wrote for so long, in no order; what comes or goes meanwhile may be left out."""
        ...

    def collect(self, old: OldBlob, *, unless: Callable[[], bool]) -> bool:
        """`delete` of what is still as old as it was found; whether it went.

        Of something half done, which a crash left behind, `unless` True brings the whole content back, if there is one.
        """
        ...


class ModelStore(Protocol):
    """Rows of model versions; every call names the tenant."""

    def insert(self, model: ModelVersion) -> None:
        """Raises VersionExists for a repeated (tenant, name, version)."""
        ...

    def get(self, tenant_id: str, model_id: str) -> ModelVersion:
        """Raises ModelNotFound."""
        ...

    def find(self, tenant_id: str, name: str, version: str) -> ModelVersion | None: ...

    def list(
        self, tenant_id: str, *, name: str | None = None, limit: int = 100, before_id: str | None = None
    ) -> Sequence[ModelVersion]:
        """Newest first."""
        ...

    def set_state(self, tenant_id: str, model_id: str, state: ModelState) -> ModelVersion: ...

    def delete(self, tenant_id: str, model_id: str, *, seen_by: Scope | None = None) -> None:
        """Raises ModelNotFound; InUse while a service or deployment names it, which is named if `seen_by` covers it."""
        ...

    def blob_users(self, key: str) -> int:
        """How many rows name this blob: models, as artefact or golden pair, uploads and results; of every tenant."""
        ...

    def used_blobs(self, keys: Sequence[str]) -> Set[str]:
        """Those of `keys` that any row names, as `blob_users` counts them."""
        ...

    def bytes_named(self) -> Mapping[str, int]:
        """By kind (models, uploads, results): the bytes that rows name; what several name counts for each."""
        ...


class UploadStore(Protocol):
    """Uploaded files that wait to be registered or used as a large input. One whose time is over is none any more."""

    def insert(self, tenant_id: str, upload_id: str, blob: StoredBlob, *, keep_s: float | None = None) -> Upload:
        """`keep_s`: how long it lives; None for good."""
        ...

    def get(self, tenant_id: str, upload_id: str) -> Upload:
        """Raises UploadNotFound."""
        ...

    def list(self, tenant_id: str, *, limit: int, before_id: str | None = None) -> Sequence[Upload]:
        """Newest first."""
        ...

    def delete(self, tenant_id: str, upload_id: str) -> Upload:
        """The row that went. Raises UploadNotFound."""
        ...

    def expire(self, *, limit: int) -> int:
        """Removes rows whose time is over, of every tenant; how many went."""
        ...


class Marks(Protocol):
    """Names that the database remembers, for good."""

    def take(self, name: str, *, every_s: float, by: str) -> bool:
        """Remembers the name."""
        ...

    def age_s(self, name: str) -> float | None:
        """None for one that it does not know."""
        ...


class Fetch(Protocol):
    """Reads an input from outside: http://, https:// or s3://. Blocks; never on the thread of an event loop."""

    def __call__(self, reference: str, *, is_open: bool, limit_bytes: int) -> bytes:
        """`is_open`: a caller without a key may also name this machine's own addresses.

        Raises InputRefused, InputUnreachable, TooLarge; TooManyWaiting when others fetch already.
        """
        ...


class Inspect(Protocol):
    """Tries out an artefact, at a distance at which it can do no harm."""

    def __call__(
        self,
        path: Path,
        *,
        framework: str,
        hooks: Mapping[str, Any],
        golden: Mapping[str, Any],
        options: Mapping[str, Any],
        settings: RegistrySettings,
        engines: EnginesSettings,
    ) -> Trial:
        """Raises ModelInvalid; InvalidField where hooks or golden input do not fit the model."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPorts:
    """`inspect`: the limited child process, unless a test brings another. `quotas` None: nobody has one.

    `keep_s`: life of an upload that names none; 0 keeps it for good.
    """

    models: ModelStore
    uploads: UploadStore
    blobs: BlobStore
    settings: RegistrySettings
    engines: EnginesSettings
    inspect: Inspect = inspect
    quotas: Quotas | None = None
    keep_s: float = 0.0
    fetch: Fetch | None = None
    marks: Marks | None = None
