"""Tensors outside an engine: the packed form of payloads, and the JSON form of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from inference.errors import OutputInvalid

Array: TypeAlias = NDArray[np.generic]
Tensors: TypeAlias = Mapping[str, Array]

DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)


NAMES = {"nan": b'"NaN"', "inf": b'"Infinity"', "-inf": b'"-Infinity"'}


class NanPolicy(StrEnum):
    """What becomes of NaN and infinity in an output: null, a failure of the job, or a text of that name."""

    NULL = "null"
    FAIL = "fail"
    PASS = "pass"  # noqa: S105 - no password


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


_HALF = np.dtype(np.float16)
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


def pack_each(tensors: Tensors) -> list[bytes]:
    """What `pack` makes of each entry along the first axis, for a small part of the cost. Fewer than 16 tensors."""
    pieces = []
    for name, array in tensors.items():
        size = array.nbytes // len(array)
        head = _encoder.encode({name: _Packed(array.dtype.name, array.shape[1:], bytes(size))})[1 : -size or None]
        data = np.ascontiguousarray(array).tobytes()
        pieces.append([head + data[at : at + size] for at in range(0, len(data), size)])
    begin = bytes([0x80 | len(pieces)])  # MessagePack's map of so many entries
    if len(pieces) == 1:
        return [begin + piece for piece in pieces[0]]
    return [begin + b"".join(parts) for parts in zip(*pieces, strict=True)]


def unpack(payload: bytes) -> dict[str, Array]:
    """Read-only views on what `pack` wrote; nothing is copied but the bytes themselves."""
    return {
        name: np.frombuffer(packed.data, dtype=packed.dtype).reshape(packed.shape)
        for name, packed in _decoder.decode(payload).items()
    }


def unpack_joined(payloads: Sequence[bytes]) -> dict[str, Array]:
    """What `unpack` gives for each, one after another along the batch axis; copied once.

    Raises ValueError, KeyError or IndexError where they do not fit together.
    """
    if len(payloads) == 1:
        return unpack(payloads[0])
    parts = [_decoder.decode(payload) for payload in payloads]
    joined = dict[str, Array]()
    for name, first in parts[0].items():
        packed = [part[name] for part in parts]
        # The length in bytes, too, or a row too long could make up for one too short.
        if len({(one.dtype, one.shape[1:], len(one.data) / one.shape[0]) for one in packed}) > 1:
            raise ValueError(f"The parts of tensor {name} differ in shape or dtype.")
        whole = np.frombuffer(b"".join([one.data for one in packed]), dtype=first.dtype)
        joined[name] = whole.reshape((sum([one.shape[0] for one in packed]), *first.shape[1:]))
    return joined


def to_json(tensors: Tensors, nan_policy: NanPolicy = NanPolicy.NULL) -> bytes:
    """Result JSON: name -> nested list, full rank, floats with their decimal point; never what JSON does not have.

    Raises OutputInvalid for NaN and infinity under the policy `fail`.
    """
    ready = {
        name: array.astype(np.float32) if array.dtype == _HALF else np.ascontiguousarray(array)
        for name, array in tensors.items()
    }
    if nan_policy is not NanPolicy.NULL:
        return _dump({name: _told(name, array, nan_policy) for name, array in ready.items()})
    return _dump(ready)


def _dump(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)


def _told(name: str, array: Array, nan_policy: NanPolicy) -> object:
    """The array, or its JSON with a text wherever a number is none that JSON has."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    is_number = np.isfinite(array)
    if is_number.all():
        return array
    if nan_policy is NanPolicy.FAIL:
        raise OutputInvalid(
            f"The output `{name}` holds NaN or infinity, which the nan_policy of this model calls a failure.",
            tensor=name,
        )
    # orjson writes null for each of them, in C order, and nowhere else.
    texts = [NAMES[str(value)] for value in array[~is_number].tolist()]
    first, *rest = _dump(array).split(b"null")
    return orjson.Fragment(first + b"".join(text + piece for text, piece in zip(texts, rest, strict=True)))


def _plain(value: object) -> object:
    """orjson hands over what it has no form for (0-d and string arrays)."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(type(value).__name__)
