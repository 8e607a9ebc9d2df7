"""Where a model comes from: `model_path` read, checked, and opened."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from inference.errors import ModelPathRefused

UPLOAD_PREFIX = "upload:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One of the two is set."""

    path: Path | None = None
    upload_id: str | None = None


def read(model_path: str) -> Source:
    """What a `model_path` names: an absolute path, a `file://` URL or `upload:<id>`. Touches no disk.

    Raises ModelPathRefused.
    """
    if not model_path or "\0" in model_path or len(model_path) > 4096:
        raise _refused(model_path, "model_path must be an absolute path, a file:// URL or upload:<id>.")
    if model_path.startswith(UPLOAD_PREFIX):
        return Source(upload_id=model_path.removeprefix(UPLOAD_PREFIX))
    if model_path.startswith("/"):
        return Source(path=Path(model_path))
    url = urlsplit(model_path)
    if url.scheme == "file":
        return Source(path=_of_file_url(model_path, url.netloc, url.path))
    if url.scheme == "s3":
        raise _refused(model_path, "s3:// is not available yet; upload the file, or give a path that the API can read.")
    if "://" in model_path:
        raise _refused(model_path, f"{url.scheme}:// is not accepted; use an absolute path, file:// or upload:<id>.")
    raise _refused(model_path, f"'{model_path[:200]}' is not absolute; a path must begin with '/'.")


def open_file(path: Path, roots: Sequence[Path]) -> BinaryIO:
    """The regular file that `path` leads to, opened for reading.

    Symbolic links are followed, and where they end must lie under one of `roots` (none = anywhere); this is asked
    of the opened file itself, so that a link changed in between gains nothing. Raises ModelPathRefused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(str(path), f"{path} cannot be read by the API process: {error.strerror}.") from error
    if problem := _problem(descriptor, path, roots):
        os.close(descriptor)
        raise _refused(str(path), f"{path} {problem}.")
    return os.fdopen(descriptor, "rb")


def _problem(descriptor: int, path: Path, roots: Sequence[Path]) -> str | None:
    if roots and not any(_real(descriptor, path).is_relative_to(root) for root in roots):
        return "is outside the folders that models may come from"
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        return "is a folder; a model is one file"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    return None if status.st_size else "is empty"


def roots_of(text: str) -> tuple[Path, ...]:
    """The folders of a `model_roots` setting, links resolved."""
    return tuple(Path(part).resolve() for part in text.split(":") if part.strip())


def _of_file_url(model_path: str, host: str, path: str) -> Path:
    if host not in ("", "localhost"):
        raise _refused(model_path, "A file:// URL must not name another host; write file:///absolute/path.")
    plain = unquote(path)
    if not plain.startswith("/") or "\0" in plain:
        raise _refused(model_path, "A file:// URL needs an absolute path: file:///absolute/path.")
    return Path(plain)


def _real(descriptor: int, path: Path) -> Path:
    """Where the open file lies, as the kernel says; elsewhere than on Linux, where its name leads now."""
    link = Path(f"/proc/self/fd/{descriptor}")
    return link.readlink() if link.is_symlink() else path.resolve()


def _refused(model_path: str, message: str) -> ModelPathRefused:
    return ModelPathRefused(message, field="model_path", model_path=model_path[:200])
