"""Looks into archives as far as it takes to see code in them. Nothing is extracted; every read is limited."""

import bz2
import io
import lzma
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence

from inference.registry.formats_pickle import View

MEMBER_LIMIT = 2_000
DIRECTORY_LIMIT_BYTES = 2 << 20
HEAD_BYTES = 4_096
PLAIN_BYTES = 1 << 20
MEMORY_BYTES = 64 << 20
ANY_SIZE = 1 << 62

Seen = tuple[str, str]
"""A format, and what in it runs."""

Look = Callable[[View], Seen | None]
"""What runs code in these bytes, if anything does."""

_END_BYTES = 22
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, LookupError, ValueError, OSError, RuntimeError,
    EOFError,
)  # fmt: skip
_CLOSED = {
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"Rar!\x1a\x07": "RAR archive",
    b"\x28\xb5\x2f\xfd": "zstd-compressed file",
    b"\x04\x22\x4d\x18": "LZ4-compressed file",
}
_NAMED: Sequence[tuple[re.Pattern[str], Seen]] = (
    (re.compile(r"(^|/)constants\.pkl$"), ("TorchScript archive", "it holds a program, and pickles")),
    (re.compile(r"(^|/)data\.pkl$"), ("PyTorch archive", "it is built around a pickle, which calls any function")),
    (re.compile(r"(^|/)saved_model\.pb$"), ("TensorFlow SavedModel", "its graph is a program that may read files")),
    (re.compile(r"(^|/)(model\.weights|variables)\.h5$"), ("Keras archive", "its layers may hold Python code")),
    (re.compile(r"\.(py|pyc|pyd)$", re.I), ("archive with Python code", "an engine may import it")),
    (re.compile(r"\.(so(\.\d+)*|dll|dylib|class)$", re.I), ("archive with a program", "an engine may load it")),
)
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|\xfd7zXZ\0|BZh[1-9](1AY&SY|\x17rE8P\x90)")
_ZLIB = (b"\x1f", *(bytes((first,)) for first in range(0x08, 0x80, 0x10)))
_UNSEEN = "nobody can see what it holds without unpacking it"


def look_into(view: View, look: Look) -> Seen | None:
    """What runs code in a zip, tar or compressed file; None for harmless ones, and for what is none of them.

    What cannot be looked into within the limits counts as code. `look` judges the beginnings of members.
    """
    for magic, name in _CLOSED.items():
        if view.content[: len(magic)] == magic:
            return name, _UNSEEN
    return _zip(view, look) or _tar(view, look) or _compressed(view, look)


def is_archive(view: View) -> bool:
    """Whether these bytes begin a file that `look_into` would open."""
    head = bytes(view.content[:HEAD_BYTES])
    is_compressed = _COMPRESSED.match(head) is not None or bool(_unpacked(head, HEAD_BYTES))
    return head[:4] == b"PK\x03\x04" or head.startswith(tuple(_CLOSED)) or _is_tar(head[:512]) or is_compressed


def is_zip(content: bytes | mmap.mmap) -> bool:
    """By its first bytes, or by a directory at its end: readers of zip files go by either."""
    return content[:4] in (b"PK\x03\x04", b"PK\x05\x06") or _directory_bytes(content) is not None


def _zip(view: View, look: Look) -> Seen | None:
    if not is_zip(view.content):
        return None
    size = _directory_bytes(view.content)
    if size is None or size > DIRECTORY_LIMIT_BYTES:
        return "zip archive", _UNSEEN
    try:
        with zipfile.ZipFile(view.file or io.BytesIO(view.content)) as archive:
            return _members(archive, look)
    except _UNREADABLE:
        return "zip archive", _UNSEEN


def _members(archive: zipfile.ZipFile, look: Look) -> Seen | None:
    members = archive.infolist()
    names = {member.filename for member in members}
    if {"config.json", "metadata.json"} <= names:
        return "Keras archive", "its layers may hold Python code"
    for pattern, seen in _NAMED:
        if any(pattern.search(name) for name in names):
            return seen
    if len(members) > MEMBER_LIMIT:
        return f"zip archive of {len(members)} files", _UNSEEN
    for member in members:
        if member.is_dir():
            continue
        if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return "zip archive", _UNSEEN
        with archive.open(member) as opened:
            head = opened.read(HEAD_BYTES)
        if found := _inside("zip archive", member.filename, View(content=head, size_bytes=member.file_size), look):
            return found
    return None


def _inside(kind: str, name: str, view: View, look: Look) -> Seen | None:
    if is_archive(view):
        return f"{kind} with another archive in it", _UNSEEN
    if found := look(view):
        return f"{kind} with {found[0]} in it" + (f" ('{name[:80]}')" if name else ""), found[1]
    return None


def _directory_bytes(content: bytes | mmap.mmap) -> int | None:
    """How large the directory at the end of a zip file is; None where there is none.

    Source: APPNOTE.TXT 4.3.12 to 4.3.16.
    """
    lowest = max(0, len(content) - _END_BYTES - 0xFFFF)
    end = content.rfind(b"PK\x05\x06", lowest)
    if end < 0 or end + _END_BYTES > len(content):
        return None
    entries, size = struct.unpack_from("<HI", content, end + 10)
    if content[max(0, end - 20) : end][:4] == b"PK\x06\x07":
        at = content.rfind(b"PK\x06\x06", max(0, end - 20 - 4096), end)
        return int(struct.unpack_from("<Q", content, at + 40)[0]) if at >= 0 else DIRECTORY_LIMIT_BYTES + 1
    if not entries and not size:
        return 0 if end == 0 else None
    return int(size) if content[max(0, end - size) :][:4] == b"PK\x01\x02" else None


def _tar(view: View, look: Look) -> Seen | None:
    for count, (name, begin, size) in enumerate(_tar_members(view.content)):
        if count >= MEMBER_LIMIT:
            return "tar archive of many files", _UNSEEN
        for pattern, seen in _NAMED:
            if pattern.search(name):
                return seen
        head = bytes(view.content[begin : begin + min(size, HEAD_BYTES)])
        if found := _inside("tar archive", name, View(content=head, size_bytes=size), look):
            return found
    return None


def _tar_members(content: bytes | mmap.mmap) -> Iterator[tuple[str, int, int]]:
    at = 0
    while _is_tar(header := bytes(content[at : at + 512])):
        size = _tar_number(header[124:136])
        yield header[:100].split(b"\0")[0].decode("utf-8", "replace"), at + 512, size
        at += 512 + (size + 511) // 512 * 512


def _is_tar(header: bytes) -> bool:
    """By the sum in the header, which old tars without a magic number have too."""
    if len(header) < 512 or not header[0]:
        return False
    total = sum(header) - sum(header[148:156]) + 8 * 0x20
    return total == _tar_number(header[148:156])


def _tar_number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else 0


def _compressed(view: View, look: Look) -> Seen | None:
    head = bytes(view.content[:PLAIN_BYTES])
    plain = _unpacked(head, PLAIN_BYTES)
    if not plain:
        return ("compressed file", _UNSEEN) if _COMPRESSED.match(head) else None
    is_whole = len(head) == view.size_bytes and len(plain) < PLAIN_BYTES
    inner = View(content=plain, size_bytes=len(plain) if is_whole else ANY_SIZE)
    return _inside("compressed file", "", inner, look)


def _unpacked(head: bytes, limit_bytes: int) -> bytes:
    """The beginning of what a compressed file holds; nothing where it is none."""
    ways: dict[bytes, Callable[[], bytes]] = dict.fromkeys(
        _ZLIB, lambda: zlib.decompressobj(47).decompress(head, limit_bytes)
    )
    ways[b"B"] = lambda: bz2.BZ2Decompressor().decompress(head, limit_bytes)
    ways[b"\xfd"] = ways[b"]"] = lambda: lzma.LZMADecompressor(memlimit=MEMORY_BYTES).decompress(head, limit_bytes)
    try:
        return ways[head[:1]]() if head[:1] in ways else b""
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
        return b""
