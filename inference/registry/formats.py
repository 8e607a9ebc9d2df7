"""Recognises what a model file is by what it holds, and whether loading such a file can run code of its maker.

What runs code is looked for first: a file may be several things at once, and then it counts as the worst of them.
"""

import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inference.engines.onnx_file import NotProtobuf, fields
from inference.registry import formats_archive
from inference.registry.formats_archive import Seen
from inference.registry.formats_pickle import View, is_pickle

FIELD_LIMIT = 100_000
PART_LIMIT = 64
PART_BYTES = 1 << 16
TEXT_BYTES = 1 << 20
_HDF5 = b"\x89HDF\r\n\x1a\n"
_VARINT, _BYTES = 0, 2

_PICKLE: Seen = ("pickle", "unpickling calls any function that the file names")
_PROGRAMS: tuple[tuple[re.Pattern[bytes], Seen], ...] = (
    (re.compile(rb"\x7fELF"), ("ELF program or library", "it is machine code")),
    (
        re.compile(rb"\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe"),
        ("Mach-O program or library", "it is machine code"),
    ),
    (re.compile(rb"\xca\xfe\xba[\xbe\xbf]|[\xbe\xbf]\xba\xfe\xca"), ("Mach-O or Java program", "it is a program")),
    (re.compile(rb"!<(arch|thin)>\n"), ("static library", "it is machine code")),
    (re.compile(rb"\0asm"), ("WebAssembly module", "it is a program")),
    (re.compile(rb"BC\xc0\xde|\xde\xc0\x17\x0b"), ("LLVM bitcode", "it is a program")),
    (re.compile(rb"..\r\n[\0\1\3]\0\0\0", re.S), ("Python bytecode", "it is a program")),
    (re.compile(rb"#!"), ("script", "it is a program")),
)
_TENSORRT: Seen = ("TensorRT plan", "it holds compiled kernels, and may hold plugin libraries")
_PLAN_MAGICS = (b"ftrt", b"ptrt")
_PYTHON = re.compile(
    rb"^[ \t]*(import[ \t]+[\w.]+[ \t]*(as[ \t]+\w+[ \t]*)?([,;#]|\r?$)|from[ \t]+[\w.]+[ \t]+import[ \t]"
    rb"|(async[ \t]+)?def[ \t]+\w+[ \t]*\(|class[ \t]+\w+[ \t]*(\([^)\n]*\)[ \t]*)?:)|\b(exec|eval|__import__)[ \t]*\(",
    re.M,
)
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_OPERATION = re.compile(rb"[A-Za-z_][\w>./]*")
_OPENVINO = re.compile(rb"(\xef\xbb\xbf)?\s*+(<\?xml[^>]*+>\s*+)?(?><!--.*?-->\s*+)*+<net\s[^>]*\bversion=", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """`name`: for people. `why`: what in it runs, or why nothing does, as the rest of a sentence."""

    name: str
    runs_code: bool
    why: str


def recognise(path: Path) -> Format:
    """The format of a file, whatever it is called. Runs, imports and extracts nothing, and reads little of it.

    A format that is not known does not run code by itself; what its engine does with it, only the engine knows.
    Raises OSError where the file cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        return Format(name="empty file", runs_code=False, why="there is nothing in it")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return recognise_bytes(View(content=content, size_bytes=size, file=file))


def recognise_bytes(view: View) -> Format:
    """As `recognise`, for what is in memory already."""
    if seen := formats_archive.look_into(view, _code) or _code(view):
        return Format(name=seen[0], runs_code=True, why=seen[1])
    for name, is_one in _DATA:
        if is_one(view):
            return Format(name=name, runs_code=False, why="it holds data only")
    return Format(name="unknown format", runs_code=False, why="nothing in it looks like a program")


def _code(view: View) -> Seen | None:
    """What runs code in a file that is no archive."""
    return next((seen for look in _CODE if (seen := look(view)) is not None), None)


def _pickle(view: View) -> Seen | None:
    return _PICKLE if is_pickle(view) else None


def _program(view: View) -> Seen | None:
    head = bytes(view.content[:16])
    if head[:2] == b"MZ":
        at = int.from_bytes(view.content[60:64], "little")
        return ("Windows program or library", "it is machine code") if view.content[at : at + 2] == b"PE" else None
    return next((seen for pattern, seen in _PROGRAMS if pattern.match(head)), None)


def _tensorrt(view: View) -> Seen | None:
    """Bare, or behind the length and the JSON that some exporters put in front."""
    head = bytes(view.content[:8])
    at = 4 + int.from_bytes(head[:4], "little") if head[4:5] == b"{" else 0
    return _TENSORRT if view.content[at : at + 4] in _PLAN_MAGICS else None


def _hdf5(view: View) -> Seen | None:
    """The signature stands at 0, 512, 1024, 2048, ...; source: HDF5 file format specification, II.A."""
    at = 0
    while at < len(view.content):
        if view.content[at : at + 8] == _HDF5:
            return "HDF5 file", "Keras layers in it may hold Python code"
        at = at * 2 or 512
    return None


def _numpy_objects(view: View) -> Seen | None:
    """The type stands in the header, as a Python literal. Source: numpy.lib.format."""
    head = bytes(view.content[:TEXT_BYTES])
    if not head.startswith(b"\x93NUMPY"):
        return None
    begin = 10 if head[6:7] == b"\1" else 12
    header = head[begin : begin + int.from_bytes(head[8:begin], "little")]
    has_objects = re.search(rb"\\|['\"][<>|=]?O", header)
    return ("NumPy array of objects", "it holds a pickle") if has_objects else None


def _tensorflow(view: View) -> Seen | None:
    """SavedModel: graphs in field 2, where ONNX has a short text. GraphDef: nodes in field 1, where ONNX has a number.

    What else such a message holds is of no interest: its readers pass over it. Source: saved_model.proto, graph.proto,
    node_def.proto, onnx.proto3.
    """
    found = _protobuf(view)
    if len(found) >= FIELD_LIMIT:
        return "protobuf message of very many parts", "nobody can see what it holds without loading it"
    for number, wire, begin, stop in found:
        part = View(content=view.content[begin : min(stop, begin + PART_BYTES)], size_bytes=stop - begin)
        if (number, wire) == (2, _BYTES) and not _is_label(part) and _protobuf(part, PART_LIMIT):
            return "TensorFlow SavedModel", "its graph is a program that may read and write files"
        if (number, wire) == (1, _BYTES) and _is_node(part):
            return "TensorFlow graph", "it is a program that may read and write files"
    return None


def _is_node(part: View) -> bool:
    """Field 1 is the name of a node, field 2 that of its operation. One too full to look through counts as well."""
    found = _protobuf(part, PART_LIMIT)
    if len(found) == PART_LIMIT:
        return True
    inner = {number: (begin, stop) for number, wire, begin, stop in found if wire == _BYTES}
    return {1, 2} <= inner.keys() and _OPERATION.fullmatch(part.content[slice(*inner[2])]) is not None


def _is_label(part: View) -> bool:
    return part.size_bytes <= 256 and not _NO_TEXT.search(part.content)


def _source(view: View) -> Seen | None:
    text = bytes(view.content[:TEXT_BYTES])
    if _NO_TEXT.search(text):
        return None
    if _PYTHON.search(text):
        return "source code", "it is a program"
    if b"!!python/" in text:
        return "YAML with Python objects", "reading it calls any function that the file names"
    if text.lstrip()[:1] == b"{" and b'"class_name"' in text and b"keras" in text:
        return "Keras model in JSON", "its layers may hold Python code"
    return None


_CODE: tuple[Callable[[View], Seen | None], ...] = (
    _pickle, _program, _tensorrt, _hdf5, _numpy_objects, _tensorflow, _source,
)  # fmt: skip


def _onnx(view: View) -> bool:
    found = {(number, wire) for number, wire, *_ in _protobuf(view)}
    return (7, _BYTES) in found and ((1, _VARINT) in found or (8, _BYTES) in found)


def _safetensors(view: View) -> bool:
    size = int.from_bytes(view.content[:8], "little")
    return 2 <= size <= view.size_bytes - 8 and view.content[8:9] == b"{"


def _starts(magic: bytes, at: int = 0) -> Callable[[View], bool]:
    return lambda view: view.content[at : at + len(magic)] == magic


_DATA: tuple[tuple[str, Callable[[View], bool]], ...] = (
    ("GGUF", _starts(b"GGUF")),
    ("TFLite", _starts(b"TFL3", at=4)),
    ("NumPy array", _starts(b"\x93NUMPY")),
    ("safetensors", _safetensors),
    ("ONNX", _onnx),
    ("OpenVINO IR", lambda view: _OPENVINO.match(bytes(view.content[:4096])) is not None),
    ("zip archive", lambda view: formats_archive.is_zip(view.content)),
)


def _protobuf(view: View, limit: int = FIELD_LIMIT) -> list[tuple[int, int, int, int]]:
    """The first of the outermost fields, as far as they can be seen; none where the bytes are no message."""
    found = []
    try:
        for field in islice(fields(view.content, 0, view.size_bytes), limit):
            if field[0] == 0:
                return []
            found.append(field)
    except NotProtobuf:
        return []
    except IndexError:  # behind what can be seen
        pass
    return found
