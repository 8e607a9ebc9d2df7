"""Blobs as files of one folder, named by their SHA-256."""

import errno
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from inference.errors import NoRoom, NotFound, TooLarge
from inference.registry.ports import OldBlob, StoredBlob

CHUNK_BYTES = 1 << 20
INCOMING = "incoming"
MARK = "owner"

KEY = re.compile(r"[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class FileBlobs:
    """A BlobStore in a folder: `<folder>/ab/abcd...`, each file mode 0444.

    Safe for any number of processes. A crash leaves at most a file under `<folder>/incoming`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, limit_bytes: int) -> StoredBlob:
        """Whole or not at all. Raises TooLarge, NoRoom; what the source raises passes through."""
        with disk_errors():
            incoming = self._folder / INCOMING
            incoming.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=incoming)
            temporary = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    key, size_bytes = copy_within(source, file, limit_bytes)
                    file.flush()
                    os.fchmod(file.fileno(), 0o444)
                    os.fsync(file.fileno())
                self._settle(temporary, key)
            finally:
                temporary.unlink(missing_ok=True)
        return StoredBlob(key=key, size_bytes=size_bytes)

    def put_bytes(self, content: bytes) -> StoredBlob:
        """As `put_stream`, without a limit."""
        return self.put_stream((content,), limit_bytes=len(content))

    def path(self, key: str) -> Path:
        """A local file with the content; never write to it. Raises NotFound."""
        path = self._place(key)
        if not path.is_file():
            raise NotFound(f"There is no blob {key}.", key=key)
        return path

    def has(self, key: str) -> bool:
        """Whether the content is there."""
        return KEY.fullmatch(key) is not None and self._place(key).is_file()

    def delete(self, key: str, *, unless: Callable[[], bool] | None = None) -> None:
        """Removes the content; nothing happens when it is not there.

        `unless` is asked while the content is out of sight: True puts it back. Who inserts a row that names the
        key, and looks for the content afterwards, therefore never ends with a row without content.
        """
        self._delete(key, unless or _never)

    def mark(self, text: str = "") -> str:
        """See `BlobStore.mark`: a file beside the contents."""
        place, written = self._folder / MARK, self._folder / f"{MARK}.{os.urandom(6).hex()}"
        if text and not place.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            written.write_text(text)
            with suppress(FileExistsError):
                os.link(written, place)  # whole, or not at all
            written.unlink()
        return place.read_text() if place.exists() else ""

    def old(self, *, age_s: float) -> Iterator[OldBlob]:
        """See `BlobStore.old`: by the clock of the disk's host, which wrote the times."""
        before = time.time() - age_s
        for folder in _folders(self._folder):
            is_whole = folder.name != INCOMING
            for entry in _entries(folder):
                key = entry.name.partition(".")[0]
                if is_whole and not KEY.fullmatch(entry.name):
                    continue  # nothing of ours
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode) and found.st_mtime < before:
                        yield OldBlob(
                            name=f"{folder.name}/{entry.name}",
                            key=key if KEY.fullmatch(key) else None,
                            size_bytes=found.st_size,
                            written_at=found.st_mtime,
                            is_whole=is_whole,
                        )

    def collect(self, old: OldBlob, *, unless: Callable[[], bool]) -> bool:
        """See `BlobStore.collect`."""
        path = self._folder / old.name
        if path.parent.name != INCOMING:
            return self._delete(path.name, unless, written_at=old.written_at)
        try:
            if path.stat().st_mtime > old.written_at:
                return False
            if old.key is not None and not self.has(old.key) and unless():
                path.rename(self._place(old.key))  # a crash came between taking it away and bringing it back
                return False
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _delete(self, key: str, unless: Callable[[], bool], *, written_at: float | None = None) -> bool:
        path = self._place(key)
        aside = self._folder / INCOMING / f"{key}.{os.urandom(6).hex()}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        try:
            is_kept = (written_at is not None and aside.stat().st_mtime > written_at) or unless()
        except BaseException:
            _bring_back(aside, path)
            raise
        if is_kept:
            _bring_back(aside, path)
        else:
            aside.unlink(missing_ok=True)
        return not is_kept

    def _place(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise NotFound("There is no such blob.", key=key[:80])
        return self._folder / key[:2] / key

    def _settle(self, temporary: Path, key: str) -> None:
        path = self._place(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(path)  # over an equal file, if there is one: sessions keep the old one's pages
        for folder in (path.parent, self._folder):
            _sync_folder(folder)


def _never() -> bool:
    return False


def _bring_back(aside: Path, path: Path) -> None:
    """Not over one that came meanwhile, which is the same and fresher."""
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        aside.rename(path)
        return
    aside.unlink(missing_ok=True)


def _folders(root: Path) -> Iterator[Path]:
    for entry in _entries(root):
        if entry.is_dir(follow_symlinks=False) and (len(entry.name) == 2 or entry.name == INCOMING):
            yield Path(entry.path)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


def copy_within(
    source: BinaryIO | Iterable[bytes] | Iterable[memoryview], file: BinaryIO, limit_bytes: int
) -> tuple[str, int]:
    """SHA-256 in hex, and size, of what was copied. Raises TooLarge."""
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in _chunks(source):
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise TooLarge(f"The content is larger than the limit of {limit_bytes} bytes.", limit_bytes=limit_bytes)
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest(), size_bytes


def _chunks(source: BinaryIO | Iterable[bytes] | Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while chunk := read(CHUNK_BYTES):
        yield chunk


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems have no such call
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is NoRoom."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoRoom("The disk of the artefact store is full.", part="blobs") from error
        raise
