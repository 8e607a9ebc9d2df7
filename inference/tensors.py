"""Tensors outside an engine: the packed form of payloads, and the JSON form of results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.generic]
Tensors: TypeAlias = Mapping[str, Array]

DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """`shape`: batch axis first; None where any length is accepted. `dtype`: numpy's name.

    `is_ragged`: a processing step evens out the lengths of its rows, so that they do not keep jobs apart.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    is_ragged: bool = False


class _Packed(msgspec.Struct, array_like=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, _Packed])


def pack(tensors: Tensors) -> bytes:
    """The payload form: MessagePack of name -> (dtype, shape, C-order little-endian bytes)."""
    return _encoder.encode(
        {
            name: _Packed(array.dtype.name, array.shape, np.ascontiguousarray(array).tobytes())
            for name, array in tensors.items()
        }
    )


def unpack(payload: bytes) -> dict[str, Array]:
    """Read-only views on what `pack` wrote; nothing is copied but the bytes themselves."""
    return {
        name: np.frombuffer(packed.data, dtype=packed.dtype).reshape(packed.shape)
        for name, packed in _decoder.decode(payload).items()
    }


def to_json(tensors: Tensors) -> bytes:
    """Result JSON: name -> nested list, full rank, floats with their decimal point; NaN and Inf become null."""
    ready = {
        name: array.astype(np.float32) if array.dtype == np.float16 else np.ascontiguousarray(array)
        for name, array in tensors.items()
    }
    return orjson.dumps(ready, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)


def _plain(value: object) -> object:
    """orjson hands over what it has no form for (0-d and string arrays)."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(type(value).__name__)
