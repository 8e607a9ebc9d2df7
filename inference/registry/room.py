"""Takes content into the blob store: up to the limit of one file, and to what is left of its owner's quota."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from inference.access.model import Principal
from inference.errors import TooLarge
from inference.registry.ports import RegistryPorts, StoredBlob


def store(ports: RegistryPorts, by: Principal | None, stream: BinaryIO | Iterable[bytes], *, what: str) -> StoredBlob:
    """The whole content, or nothing of it: what goes beyond is not read to its end.

    Raises TooLarge, QuotaExceeded, NoRoom.
    """
    limit_bytes = ports.settings.upload_limit_bytes
    room = None if by is None or ports.quotas is None else ports.quotas.room(by)
    try:
        return ports.blobs.put_stream(stream, limit_bytes=limit_bytes if room is None else min(limit_bytes, room))
    except TooLarge as error:
        if by is not None and ports.quotas is not None and room is not None and room < limit_bytes:
            raise ports.quotas.full(by) from error
        message = f"The {what} is larger than the limit of {limit_bytes} bytes."
        raise TooLarge(message, **error.details) from error


@contextmanager
def counted(ports: RegistryPorts, by: Principal | None, size_bytes: int) -> Iterator[None]:
    """Counts the bytes against the quota; takes that back when the row inside is not written. Raises QuotaExceeded."""
    if by is None or ports.quotas is None:
        yield
        return
    ports.quotas.take_bytes(by, size_bytes)
    try:
        yield
    except BaseException:
        ports.quotas.give_back_bytes(by, size_bytes)
        raise
