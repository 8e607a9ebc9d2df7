"""The inputs of many jobs at once: what is plain is checked and packed together; the rest is left to `inputs`.

Whatever comes through here comes out as `inputs.parse` would have made it, byte for byte.
"""

import binascii
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np

from inference.errors import InvalidTensor
from inference.jobs import inputs
from inference.tensors import Array, TensorSpec, pack_each

Parsed: TypeAlias = tuple[bytes, int, str]

EXACT = 2**53
"""Up to here a whole number is the same as a double, so that it does not matter which of the two it was read as."""
MOST_TENSORS = 15
_LEAVES = {"f": float, "i": int, "u": int, "b": bool}


class Coded(msgspec.Struct, forbid_unknown_fields=True):
    """`{"b64", "dtype", "shape"}`."""

    b64: str
    dtype: str
    shape: list[int]


class Form:
    """One way to write an `input_data` for this signature, the same for all of its tensors.

    `type`: a class for msgspec. `keys`: how many colons its JSON has at least, and exactly if no key stands twice.
    """

    def __init__(self, signature: Sequence[TensorSpec], leaf: Any, *, keys: int, depth: int | None) -> None:
        self.signature = tuple(signature)
        self.depth = depth
        self.keys = sum(1 + keys + spec.name.count(":") for spec in signature)
        fields: list[tuple[str, Any]] = [(f"t{i}", leaf(spec)) for i, spec in enumerate(signature)]
        names = {f"t{i}": spec.name for i, spec in enumerate(signature)}
        self.type: type[Any] = msgspec.defstruct("InputData", fields, rename=names, forbid_unknown_fields=True)
        self._names = tuple(names)

    def parse(self, read: Sequence[Any]) -> list[Parsed | None]:
        """One for one; None for what has to be looked at by itself."""
        columns = [[getattr(one, name) for one in read] for name in self._names]
        arrays = self._shaped(columns) if self.depth is None else self._listed(columns)
        found: list[Parsed | None] = [None] * len(read)
        for indices, stacked in arrays:
            for index, parsed in zip(indices, self._settle(stacked), strict=False):
                found[index] = parsed
        return found

    def _listed(self, columns: Sequence[Sequence[Any]]) -> list[tuple[list[int], list[Array]]]:
        """Jobs whose nested lists begin alike, and their tensors stacked; what turns out ragged is left out."""
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        depths = [len(spec.shape) - 1 + (self.depth or 0) for spec in self.signature]
        for index, values in enumerate(zip(*columns, strict=True)):
            shape = tuple(_lengths(value, depth) for value, depth in zip(values, depths, strict=True))
            groups.setdefault(shape, []).append(index)
        found = []
        for shapes, indices in groups.items():
            stacked = [
                _stack([column[index] for index in indices], shape)
                for column, shape in zip(columns, shapes, strict=True)
            ]
            if all(array is not None for array in stacked):
                found.append((indices, [array for array in stacked if array is not None]))
        return found

    def _shaped(self, columns: Sequence[Sequence[Coded]]) -> list[tuple[list[int], list[Array]]]:
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for index, values in enumerate(zip(*columns, strict=True)):
            if all(value.dtype == spec.dtype for value, spec in zip(values, self.signature, strict=True)):
                groups.setdefault(tuple(tuple(value.shape) for value in values), []).append(index)
        found = []
        for shapes, indices in groups.items():
            stacked = [
                _decode([column[index].b64 for index in indices], np.dtype(spec.dtype), shape)
                for column, shape, spec in zip(columns, shapes, self.signature, strict=True)
            ]
            if all(array is not None for array in stacked):
                found.append((indices, [array for array in stacked if array is not None]))
        return found

    def _settle(self, stacked: Sequence[Array]) -> list[Parsed]:
        """Nothing when they do not fit: which of them, and why, is found one by one."""
        ready: dict[str, Array] = {}
        try:
            for spec, array in zip(self.signature, stacked, strict=True):
                ready[spec.name] = inputs.cast(spec, array)
            _, rows, bucket = inputs.settle({name: array[0] for name, array in ready.items()}, self.signature)
        except InvalidTensor:
            return []
        for spec in self.signature:
            array = ready[spec.name]
            if array.ndim == len(spec.shape):  # one row each, without a batch axis
                ready[spec.name] = array[:, np.newaxis]
        return [(payload, rows, bucket) for payload in pack_each(ready)]


def forms(signature: Sequence[TensorSpec]) -> tuple[Form, ...]:
    """The plain ways to write inputs of this signature; none for one that is too odd."""
    kinds = {np.dtype(spec.dtype).kind for spec in signature}
    if not signature or len(signature) > MOST_TENSORS or not kinds <= _LEAVES.keys():
        return ()
    depths = [depth for depth in (1, 0) if min(len(spec.shape) for spec in signature) - 1 + depth > 0]
    listed = [
        Form(signature, lambda spec, d=depth: _nested(spec, len(spec.shape) - 1 + d), keys=0, depth=depth)
        for depth in depths
    ]
    coded = Form(signature, lambda _: Coded, keys=3, depth=None)
    return (*listed, coded) if "b" not in kinds else tuple(listed)


def _nested(spec: TensorSpec, depth: int) -> Any:
    leaf: Any = _LEAVES[np.dtype(spec.dtype).kind]
    for _ in range(depth):
        leaf = list[leaf]
    return leaf


def _lengths(value: Any, depth: int) -> tuple[int, ...]:
    """The shape that a nested list has as far as its first elements tell."""
    found = []
    for _ in range(depth):
        found.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(found)


def _stack(values: list[Any], shape: tuple[int, ...]) -> Array | None:
    if 0 in shape:
        return None
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    kind = array.dtype.kind
    if array.shape != (len(values), *shape) or kind not in "fib":
        return None
    if kind == "f" and not np.abs(array).max() <= EXACT:
        return None
    return array


def _decode(texts: list[str], dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> Array | None:
    """None unless every text is base64 of exactly so many bytes."""
    if not shape or min(shape) <= 0 or max(shape) >= 1 << 31:
        return None
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    try:
        pieces = [binascii.a2b_base64(text, strict_mode=True) for text in texts]
    except ValueError:
        return None
    if any(len(piece) != size for piece in pieces):
        return None
    return np.frombuffer(b"".join(pieces), dtype=dtype.newbyteorder("<")).reshape(len(texts), *shape)
