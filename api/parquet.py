"""Writes Parquet, the little of it that a table of tasks needs: flat columns, one page each, in groups of rows.

Source: the Apache Parquet format, 2.11 (thrift definitions, encodings); data pages of version 1, PLAIN values, GZIP.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

MAGIC = b"PAR1"
CONTENT_TYPE = "application/vnd.apache.parquet"
GROUP_ROWS, GROUP_BYTES = 20_000, 8 << 20
"""A group of rows is written when it has so many, or so many bytes of text: no more than that is held."""
LEVEL = 4
_GZIP, _PLAIN, _RLE, _OPTIONAL, _DATA_PAGE = 2, 0, 3, 1, 0


class Type(Enum):
    """`physical`: how it is stored. `converted`, `logical`: what readers make of it, in old words and in new ones."""

    TEXT = ("text", 6, 0, 1)
    INTEGER = ("integer", 2, None, None)
    NUMBER = ("number", 5, None, None)
    TIME = ("time", 2, 10, 8)

    def __init__(self, word: str, physical: int, converted: int | None, logical: int | None) -> None:
        self.word, self.physical, self.converted, self.logical = word, physical, converted, logical


class _Struct:
    """A thrift struct in the compact protocol. Fields in the order of their numbers."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._last = 0

    def integer(self, number: int, value: int, *, is_long: bool = False) -> "_Struct":
        return self._put(number, 6 if is_long else 5, _zigzag(value))

    def text(self, number: int, value: str) -> "_Struct":
        return self._put(number, 8, _bytes(value.encode()))

    def true(self, number: int) -> "_Struct":
        return self._put(number, 1, b"")

    def struct(self, number: int, value: "_Struct") -> "_Struct":
        return self._put(number, 12, value.done())

    def integers(self, number: int, values: Sequence[int]) -> "_Struct":
        return self._put(number, 9, _list(5, [_zigzag(value) for value in values]))

    def texts(self, number: int, values: Sequence[str]) -> "_Struct":
        return self._put(number, 9, _list(8, [_bytes(value.encode()) for value in values]))

    def structs(self, number: int, values: Iterable["_Struct"]) -> "_Struct":
        return self._put(number, 9, _list(12, [value.done() for value in values]))

    def done(self) -> bytes:
        return b"".join(self._parts) + b"\0"

    def _put(self, number: int, kind: int, value: bytes) -> "_Struct":
        step, self._last = number - self._last, number
        self._parts.append(bytes([step << 4 | kind]) + value)
        return self


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _bytes(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return head + b"".join(items)


def _texts(values: Sequence[bytes]) -> bytes:
    return b"".join([piece for value in values for piece in (struct.pack("<I", len(value)), value)])


_VALUES: Mapping[Type, Callable[[Sequence[Any]], bytes]] = {
    Type.TEXT: _texts,
    Type.INTEGER: lambda values: np.asarray(values, "<i8").tobytes(),
    Type.NUMBER: lambda values: np.asarray(values, "<f8").tobytes(),
    Type.TIME: lambda values: np.asarray([round(value * 1e6) for value in values], "<i8").tobytes(),
}


@dataclass(slots=True)
class _Chunk:
    """One column of one group of rows, where it lies in the file."""

    at: int
    count: int
    plain_bytes: int
    packed_bytes: int


@dataclass(slots=True)
class Writer:
    """One file, group by group. `columns`: name -> type; every value may be None.

    Texts are given as UTF-8 bytes, times as epoch seconds; they are kept as UTC with microseconds.
    """

    columns: Mapping[str, Type]
    _at: int = 0
    _groups: list[tuple[int, list[_Chunk]]] = field(default_factory=list)

    def begin(self) -> bytes:
        """The first bytes of the file."""
        return self._written(MAGIC)

    def group(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """The bytes of some rows: at least one."""
        chunks, found = [], []
        for kind, column in zip(self.columns.values(), zip(*rows, strict=True), strict=True):
            page, plain_bytes = _page(kind, column)
            chunks.append(_Chunk(self._at, len(column), plain_bytes, len(page)))
            found.append(self._written(page))
        self._groups.append((len(rows), chunks))
        return b"".join(found)

    def end(self) -> bytes:
        """What says where everything is. A file without it is none, to every reader."""
        footer = (
            _Struct()
            .integer(1, 1)
            .structs(
                2, [_Struct().text(4, "tasks").integer(5, len(self.columns)), *map(_element, self.columns.items())]
            )
            .integer(3, sum(rows for rows, _ in self._groups), is_long=True)
            .structs(4, [self._group(rows, chunks) for rows, chunks in self._groups])
            .text(6, "penstock")
            .done()
        )
        return footer + struct.pack("<I", len(footer)) + MAGIC

    def _written(self, piece: bytes) -> bytes:
        self._at += len(piece)
        return piece

    def _group(self, rows: int, chunks: Sequence[_Chunk]) -> _Struct:
        columns = [
            self._chunk(name, kind, chunk) for (name, kind), chunk in zip(self.columns.items(), chunks, strict=True)
        ]
        size = sum(chunk.plain_bytes for chunk in chunks)
        return _Struct().structs(1, columns).integer(2, size, is_long=True).integer(3, rows, is_long=True)

    @staticmethod
    def _chunk(name: str, kind: Type, chunk: _Chunk) -> _Struct:
        told = (
            _Struct()
            .integer(1, kind.physical)
            .integers(2, [_PLAIN, _RLE])
            .texts(3, [name])
            .integer(4, _GZIP)
            .integer(5, chunk.count, is_long=True)
            .integer(6, chunk.plain_bytes, is_long=True)
            .integer(7, chunk.packed_bytes, is_long=True)
            .integer(9, chunk.at, is_long=True)
        )
        return _Struct().integer(2, chunk.at, is_long=True).struct(3, told)


def _element(column: tuple[str, Type]) -> _Struct:
    name, kind = column
    told = _Struct().integer(1, kind.physical).integer(3, _OPTIONAL).text(4, name)
    if kind.converted is not None:
        told.integer(6, kind.converted)
    if kind is Type.TIME:
        unit = _Struct().struct(2, _Struct())  # microseconds
        told.struct(10, _Struct().struct(8, _Struct().true(1).struct(2, unit)))
    elif kind.logical is not None:
        told.struct(10, _Struct().struct(kind.logical, _Struct()))
    return told


def _page(kind: Type, column: Sequence[Any]) -> tuple[bytes, int]:
    """Header and body, and the size of both unpacked. Before the values a bit for each row: whether it has one."""
    there = [value is not None for value in column]
    bits = np.packbits(np.array(there), bitorder="little").tobytes()
    levels = _varint(len(bits) << 1 | 1) + bits
    body = struct.pack("<I", len(levels)) + levels + _VALUES[kind]([value for value in column if value is not None])
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    packed = packer.compress(body) + packer.flush()
    data = _Struct().integer(1, len(column)).integer(2, _PLAIN).integer(3, _RLE).integer(4, _RLE)
    header = _Struct().integer(1, _DATA_PAGE).integer(2, len(body)).integer(3, len(packed)).struct(5, data).done()
    return header + packed, len(header) + len(body)


def written(columns: Mapping[str, Type], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The file, a piece for each group of rows. Raises what `rows` raises: the file then has no end."""
    writer, held, held_bytes = Writer(columns), list[Sequence[Any]](), 0
    yield writer.begin()
    for row in rows:
        held.append(row)
        held_bytes += sum(len(value) for value in row if isinstance(value, bytes))
        if len(held) >= GROUP_ROWS or held_bytes >= GROUP_BYTES:
            yield writer.group(held)
            held, held_bytes = [], 0
    if held:
        yield writer.group(held)
    yield writer.end()
