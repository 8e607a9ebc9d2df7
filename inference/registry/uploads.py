"""Takes in files that are used later, by their upload id."""

from collections.abc import Iterable
from typing import BinaryIO

from inference.access.model import Principal
from inference.errors import InvalidField
from inference.ids import new_id
from inference.registry import room
from inference.registry.ports import RegistryPorts
from inference.registry.register import forget_blobs


def receive(
    ports: RegistryPorts, *, tenant_id: str, stream: BinaryIO | Iterable[bytes], by: Principal | None = None
) -> str:
    """The id under which the content can be named, as `upload:<id>`. Whole or not at all.

    `by`: whose quota it counts against. Raises InvalidField for an empty upload, TooLarge, QuotaExceeded, NoRoom.
    """
    blob = room.store(ports, by, stream, what="upload")
    if blob.size_bytes == 0:
        forget_blobs(ports, [blob.key])
        raise InvalidField("The upload is empty.", field="body")
    upload_id = new_id()
    try:
        with room.counted(ports, by, blob.size_bytes):
            ports.uploads.insert(tenant_id, upload_id, blob)
    except BaseException:
        forget_blobs(ports, [blob.key])
        raise
    return upload_id
