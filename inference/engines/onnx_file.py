"""Reads just enough of an ONNX file to see which other files it asks for, and how large its weights are."""

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


_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_RAW = 1, 2, 9
_GRAPH_INITIALIZER, _MODEL_GRAPH, _GRAPH_NODE, _NODE_ATTRIBUTE, _ATTRIBUTE_TENSOR = 5, 7, 1, 5, 5
_WIDTHS = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
"""Bytes of one element, by TensorProto.DataType; what is not here (strings, 8 bits and fewer) counts as one."""


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


def weight_bytes(path: Path) -> int:
    """Bytes of the tensors that the model brings along, in the form in which it computes with them.

    Initializers of the main graph and constants in its nodes. Raises NotProtobuf.
    Source: onnx.proto3 (GraphProto.initializer, TensorProto).
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise NotProtobuf("empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return sum(_tensor_bytes(content, begin, stop) for begin, stop in _tensors(content))


def _tensors(content: bytes | mmap.mmap) -> Iterator[tuple[int, int]]:
    """Where each tensor of the main graph lies."""
    for graph in _inside(content, (0, len(content)), _MODEL_GRAPH):
        yield from _inside(content, graph, _GRAPH_INITIALIZER)
        for node in _inside(content, graph, _GRAPH_NODE):
            for attribute in _inside(content, node, _NODE_ATTRIBUTE):
                yield from _inside(content, attribute, _ATTRIBUTE_TENSOR)


def _inside(content: bytes | mmap.mmap, span: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
    for number, wire, begin, stop in fields(content, *span):
        if number == wanted and wire == _BYTES:
            yield begin, stop


def _tensor_bytes(content: bytes | mmap.mmap, start: int, end: int) -> int:
    count, width = 1, 1
    for number, wire, begin, stop in fields(content, start, end):
        if number == _TENSOR_RAW and wire == _BYTES:
            return stop - begin
        if number == _TENSOR_TYPE and wire == _VARINT:
            width = _WIDTHS.get(_varint(content, begin, end)[0], 1)
        elif number == _TENSOR_DIMS and wire == _VARINT:
            count *= _varint(content, begin, end)[0]
        elif number == _TENSOR_DIMS and wire == _BYTES:
            at = begin
            while at < stop:
                size, at = _varint(content, at, stop)
                count *= size
    return count * width


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
