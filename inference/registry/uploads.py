"""Takes in files that are used later, by their upload id."""

from collections.abc import Iterable
from typing import BinaryIO

from inference.errors import InvalidField, TooLarge
from inference.ids import new_id
from inference.registry.ports import RegistryPorts
from inference.registry.register import forget_blobs


def receive(ports: RegistryPorts, *, tenant_id: str, stream: BinaryIO | Iterable[bytes]) -> str:
    """The id under which the content can be named, as `upload:<id>`. Whole or not at all.

    Raises InvalidField for an empty upload, TooLarge, NoRoom.
    """
    limit_bytes = ports.settings.upload_limit_bytes
    try:
        blob = ports.blobs.put_stream(stream, limit_bytes=limit_bytes)
    except TooLarge as error:
        raise TooLarge(f"The upload is larger than the limit of {limit_bytes} bytes.", **error.details) from error
    if blob.size_bytes == 0:
        forget_blobs(ports, [blob.key])
        raise InvalidField("The upload is empty.", field="body")
    upload_id = new_id()
    try:
        ports.uploads.insert(tenant_id, upload_id, blob)
    except BaseException:
        forget_blobs(ports, [blob.key])
        raise
    return upload_id
