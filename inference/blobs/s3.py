"""Blobs in a bucket of S3 or of a server that speaks its protocol, with the newest copies in a local folder."""

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import structlog

from inference.blobs.files import INCOMING, KEY, MARK, copy_within, disk_errors
from inference.clock import epoch_s
from inference.errors import BadSettings, NotFound, Unavailable
from inference.registry.ports import OldBlob, StoredBlob
from inference.settings import BlobsSettings

if TYPE_CHECKING:
    from obstore.store import S3Store

log = structlog.get_logger(__name__)

PIECE_BYTES = 2 << 20
"""Of what is fetched, each within the time limit of one call."""
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 3
"""Pieces of one upload on their way: so much of it is in memory."""
YOUNG_S = 60.0
"""A local copy that was asked for so lately is not trimmed: whoever got its path may not have opened it yet."""


def require_library() -> None:
    """Raises BadSettings where it is not installed. Does not load it."""
    if find_spec("obstore") is None:
        raise BadSettings(
            "S3 needs the library obstore: install requirements/extras.txt.", name="PENSTOCK_BLOBS__STORE"
        )


def open_bucket(settings: BlobsSettings, bucket: str, *, prefix: str = "", timeout_s: float | None = None) -> "S3Store":
    """The bucket, unasked. Without keys in the settings those of the machine are used, as every AWS tool finds them."""
    from obstore.store import S3Store  # 9 MB that only those pay who have a bucket

    keys: dict[str, Any] = {}
    if settings.s3_access_key:
        keys = {"access_key_id": settings.s3_access_key, "secret_access_key": settings.s3_secret_key}
    if settings.s3_endpoint:
        keys["endpoint"] = settings.s3_endpoint
    is_plain = settings.s3_endpoint.startswith("http://")
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=settings.s3_region,
        virtual_hosted_style_request=False,
        client_options={
            "timeout": f"{timeout_s or settings.s3_timeout_s:g}s",
            "connect_timeout": "3s",
            "allow_http": is_plain,
        },
        retry_config={"max_retries": 2} if timeout_s is None else {"max_retries": 0},
        **keys,
    )


@contextmanager
def remote_errors(what: str) -> Iterator[None]:
    """FileNotFoundError passes through; whatever else the bucket says is Unavailable, and its words are logged.

    They name hosts and objects, which are not for everybody who sends tasks.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        log.warning("bucket_failed", what=what, reason=next(iter(str(error).splitlines()), "")[:300])
        raise Unavailable(f"{what} does not answer as it should; the log says more.", part="blobs") from error


class S3Blobs:
    """A BlobStore. Objects are named `<prefix>ab/abcd...`; `cache` holds copies, `cache_bytes` of them and a few more.

    Safe for any number of processes and hosts. A crash leaves at most an object under `<prefix>incoming/`, or a part of
    an upload, which a lifecycle rule of the bucket should end.
    """

    def __init__(self, settings: BlobsSettings, cache: Path) -> None:
        self._settings = settings
        self._cache = cache
        self._lock = threading.Lock()
        self._grown = settings.cache_bytes  # looks at the folder with the first copy
        self._what = f"The bucket {settings.s3_bucket}"

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, limit_bytes: int) -> StoredBlob:
        """Whole or not at all; goes through a local file, since its name is known at its end.

        Raises TooLarge, NoRoom, Unavailable; what the source raises passes through.
        """
        with self._temporary() as (path, file):
            with disk_errors():
                key, size_bytes = copy_within(source, file, limit_bytes)
                file.flush()
            with path.open("rb") as content:
                self._put(key, content)
            self._keep(path, key, size_bytes)
        return StoredBlob(key=key, size_bytes=size_bytes)

    def put_bytes(self, content: bytes) -> StoredBlob:
        """As `put_stream`, without a limit; keeps no local copy."""
        key = hashlib.sha256(content).hexdigest()
        self._put(key, content)
        return StoredBlob(key=key, size_bytes=len(content))

    def path(self, key: str) -> Path:
        """A local copy, fetched if need be and then checked against its name. Raises NotFound, Unavailable, NoRoom."""
        place = self._cache / _name(key)
        try:
            os.utime(place)
        except FileNotFoundError:
            self._fetch(key)
        return place

    def has(self, key: str) -> bool:
        """Whether the bucket has it; one call."""
        return KEY.fullmatch(key) is not None and self._head(_name(key)) is not None

    def delete(self, key: str, *, unless: Callable[[], bool] | None = None) -> None:
        """See `BlobStore.delete`. A bucket cannot rename: the content is copied aside, and copied back if need be."""
        self._delete(key, unless or _never)

    def mark(self, text: str = "") -> str:
        """See `BlobStore.mark`. Of two that mark an unmarked bucket in the same moment, one learns the next time."""
        import obstore

        try:
            with remote_errors(self._what):
                return bytes(obstore.get(self._bucket, MARK).bytes()).decode()
        except FileNotFoundError:
            if text:
                with remote_errors(self._what):
                    obstore.put(self._bucket, MARK, text.encode())
            return text

    def old(self, *, age_s: float) -> Iterator[OldBlob]:
        """See `BlobStore.old`; by the times of the bucket, which are whole seconds."""
        import obstore

        before = epoch_s() - age_s
        with remote_errors(self._what):
            for some in obstore.list(self._bucket, chunk_size=1000):
                for found in some:
                    name, written_at = found["path"], found["last_modified"].timestamp()
                    folder, _, last = name.partition("/")
                    key = last.partition(".")[0]
                    if written_at < before and last:
                        yield OldBlob(
                            name=name,
                            key=key if KEY.fullmatch(key) else None,
                            size_bytes=found["size"],
                            written_at=written_at,
                            is_whole=folder != INCOMING,
                        )

    def collect(self, old: OldBlob, *, unless: Callable[[], bool]) -> bool:
        """See `BlobStore.collect`."""
        import obstore

        written_at = self._head(old.name)
        if written_at is None or written_at > old.written_at:
            return False
        if old.is_whole:
            return old.key is not None and old.name == _name(old.key) and self._delete(old.key, unless)
        with remote_errors(self._what):
            if old.key is not None and not self.has(old.key) and unless():
                obstore.copy(self._bucket, old.name, _name(old.key))
                obstore.delete(self._bucket, old.name)
                return False
            obstore.delete(self._bucket, old.name)
        return True

    @cached_property
    def _bucket(self) -> "S3Store":
        return open_bucket(self._settings, self._settings.s3_bucket, prefix=self._settings.s3_prefix)

    def _put(self, key: str, content: bytes | BinaryIO) -> None:
        import obstore

        try:
            with remote_errors(self._what):
                obstore.put(self._bucket, _name(key), content, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        except FileNotFoundError as error:
            raise Unavailable(f"{self._what} is not there.", part="blobs") from error

    def _head(self, name: str) -> float | None:
        """When the object was written; None if there is none."""
        import obstore

        try:
            with remote_errors(self._what):
                return obstore.head(self._bucket, name)["last_modified"].timestamp()
        except FileNotFoundError:
            return None

    def _delete(self, key: str, unless: Callable[[], bool]) -> bool:
        import obstore

        name, aside = _name(key), f"{INCOMING}/{key}.{os.urandom(6).hex()}"
        try:
            with remote_errors(self._what):
                obstore.copy(self._bucket, name, aside)
                obstore.delete(self._bucket, name)
        except FileNotFoundError:
            return False
        is_kept = True
        try:
            is_kept = unless()
        finally:
            with remote_errors(self._what):
                if is_kept:
                    obstore.copy(self._bucket, aside, name)
                obstore.delete(self._bucket, aside)
        if not is_kept:
            (self._cache / name).unlink(missing_ok=True)
        return not is_kept

    def _fetch(self, key: str) -> None:
        """In pieces, each within the time limit of one call."""
        import obstore

        try:
            with self._temporary() as (path, file):
                with remote_errors(self._what):
                    size_bytes = int(obstore.head(self._bucket, _name(key))["size"])
                found = copy_within(self._pieces(key, size_bytes), file, size_bytes)
                file.flush()
                if found != (key, size_bytes):
                    raise Unavailable(f"{self._what} gave another content than that of {key}.", part="blobs")
                self._keep(path, key, size_bytes)
        except FileNotFoundError as error:
            raise NotFound(f"There is no blob {key}.", key=key) from error

    def _pieces(self, key: str, size_bytes: int) -> Iterator[memoryview]:
        import obstore

        for start in range(0, size_bytes, PIECE_BYTES):
            length = min(PIECE_BYTES, size_bytes - start)
            with remote_errors(self._what):
                piece = obstore.get_range(self._bucket, _name(key), start=start, length=length)
            yield memoryview(piece)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        incoming = self._cache / INCOMING
        with disk_errors():
            incoming.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield Path(name), file
        finally:
            Path(name).unlink(missing_ok=True)

    def _keep(self, path: Path, key: str, size_bytes: int) -> None:
        """The temporary file becomes the local copy; now and then old copies make room."""
        place = self._cache / _name(key)
        with disk_errors():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o444)
            path.rename(place)
        with self._lock:
            self._grown += size_bytes
            if self._grown < self._settings.cache_bytes / 20:
                return
            self._grown = 0
        trim(self._cache, most_bytes=self._settings.cache_bytes)


def trim(folder: Path, *, most_bytes: int) -> None:
    """Removes the copies that were asked for longest ago until the rest has room; never one of the last minute."""
    copies = []
    for place in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found = place.stat()
            if place.is_file():
                copies.append((found.st_mtime, found.st_size, place))
    size = sum(each for _, each, _ in copies)
    for used_at, each, place in sorted(copies):
        if size <= most_bytes or used_at > time.time() - YOUNG_S:
            return
        place.unlink(missing_ok=True)
        size -= each


def _name(key: str) -> str:
    if not KEY.fullmatch(key):
        raise NotFound("There is no such blob.", key=key[:80])
    return f"{key[:2]}/{key}"


def _never() -> bool:
    return False
