"""Reads just enough of an ONNX file to see which other files it asks for."""

import mmap
from collections.abc import Iterator
from pathlib import Path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH_LIMIT = 64

# Message -> its fields that hold further messages, by the numbers in onnx.proto3.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}


class NotProtobuf(ValueError):
    """The bytes do not form a protobuf message."""


def external_files(path: Path) -> list[str]:
    """The files that hold weights of this model, as the model names them; usually none.

    Reads field headers only, so that a large model costs little. Raises NotProtobuf.
    Source: onnx.proto3 (TensorProto.external_data) and the protobuf wire format.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise NotProtobuf("empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return external_names(content)


def external_names(content: bytes | mmap.mmap) -> list[str]:
    """As `external_files`, for a model in memory."""
    return sorted(set(_walk(content, 0, len(content), "model", 0)))


def _walk(content: bytes | mmap.mmap, start: int, end: int, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH_LIMIT:
        raise NotProtobuf("nested too deeply")
    if kind == "entry":
        yield from _location(content, start, end)
        return
    for number, wire, begin, stop in fields(content, start, end):
        inner = _INSIDE[kind].get(number)
        if inner is not None and wire == _BYTES:
            yield from _walk(content, begin, stop, inner, depth + 1)


def _location(content: bytes | mmap.mmap, start: int, end: int) -> Iterator[str]:
    """The value of a key-value pair whose key is `location`."""
    pair = {number: content[begin:stop] for number, wire, begin, stop in fields(content, start, end) if wire == _BYTES}
    if pair.get(1) == b"location":
        yield pair.get(2, b"").decode("utf-8", "replace")


def fields(content: bytes | mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, and where the value begins and stops."""
    at = start
    while at < end:
        tag, at = _varint(content, at, end)
        number, wire = tag >> 3, tag & 7
        begin = at
        if wire == _VARINT:
            _, at = _varint(content, at, end)
        elif wire == _BYTES:
            size, begin = _varint(content, at, end)
            at = begin + size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise NotProtobuf(f"wire type {wire}")
        if at > end:
            raise NotProtobuf("cut short")
        yield number, wire, begin, at


def _varint(content: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise NotProtobuf("cut short")
