"""Takes in files that are used later, by their upload id, and lets them go."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO

from inference.access.model import Principal
from inference.errors import DigestMismatch, InvalidField, Unavailable, UploadNotFound
from inference.ids import is_id, new_id
from inference.registry import room
from inference.registry.ports import RegistryPorts, StoredBlob, Upload
from inference.registry.register import forget_blobs


def receive(
    ports: RegistryPorts,
    *,
    tenant_id: str,
    stream: BinaryIO | Iterable[bytes],
    by: Principal | None = None,
    sha256: str | None = None,
    keep_s: float | None = None,
) -> Upload:
    """The upload, whose content can be named as `upload:<id>`. Whole or not at all.

    `by`: whose quota it counts against. `sha256`: what its content must be. `keep_s`: its life, None for the default.
    Raises InvalidField for an empty upload, DigestMismatch, TooLarge, QuotaExceeded, NoRoom.
    """
    blob = room.store(ports, by, stream, what="upload")
    upload_id = new_id()
    try:
        _check(blob, sha256)
        keep_s = ports.keep_s if keep_s is None else keep_s
        with room.counted(ports, by, blob.size_bytes):
            upload = ports.uploads.insert(tenant_id, upload_id, blob, keep_s=keep_s or None)
    except BaseException:
        forget_blobs(ports, [blob.key])
        raise
    if not ports.blobs.has(blob.key):  # who deleted an equal content took it away before the row was there
        ports.uploads.delete(tenant_id, upload_id)
        raise Unavailable("The same content was just being deleted; send it again.", part="blobs")
    return upload


def get(ports: RegistryPorts, *, tenant_id: str, upload_id: str) -> Upload:
    """Raises UploadNotFound."""
    return ports.uploads.get(tenant_id, _known(upload_id))


def find(ports: RegistryPorts, *, tenant_id: str, limit: int, before_id: str | None = None) -> Sequence[Upload]:
    """Newest first; the last id is the cursor of the next page."""
    return ports.uploads.list(tenant_id, limit=limit, before_id=before_id)


def delete(ports: RegistryPorts, *, tenant_id: str, upload_id: str) -> None:
    """Removes it at once; models and tasks that were made of it keep what they need. Raises UploadNotFound."""
    forget_blobs(ports, [ports.uploads.delete(tenant_id, _known(upload_id)).key])


def _check(blob: StoredBlob, sha256: str | None) -> None:
    if blob.size_bytes == 0:
        raise InvalidField("The upload is empty.", field="body")
    if sha256 is not None and sha256 != blob.key:
        raise DigestMismatch(
            f"The body is not what its digest says: it has the SHA-256 {blob.key}. Send it again.",
            said=sha256,
            got=blob.key,
        )


def _known(upload_id: str) -> str:
    if not is_id(upload_id):
        raise UploadNotFound(f"There is no upload `{upload_id[:80]}`.", upload_id=upload_id[:80])
    return upload_id
