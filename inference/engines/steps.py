"""Steps of pre- and post-processing that only calculate: each knows how it changes shapes, and how to run.

Every step works on any number of rows; axis 0 is the batch and is never touched.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import msgspec
import numpy as np

from inference.errors import InvalidField
from inference.tensors import DTYPES, Array, Tensors, TensorSpec

Specs = Mapping[str, TensorSpec]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
TEXT = "str"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", kw_only=True):
    """One named step; by itself it changes nothing.

    `specs` says what it makes of a signature and raises InvalidField where it cannot; `run` does it.
    """

    @property
    def ragged(self) -> str | None:
        """The tensor whose row length may differ between jobs that share a batch, if the step evens it out."""
        return None

    def specs(self, specs: Specs) -> dict[str, TensorSpec]:
        return dict(specs)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return dict(tensors)

    def example(self, rng: np.random.Generator) -> Array | None:
        """One row that this step accepts, where a random one would not do."""
        return None


class OneTensor(Step, frozen=True):
    """A step that reads `tensor` and writes it back, or beside it under `to`."""

    tensor: Name

    def target(self) -> str:
        return self.tensor

    def specs(self, specs: Specs) -> dict[str, TensorSpec]:
        spec = specs.get(self.tensor)
        if spec is None:
            raise InvalidField(f"there is no tensor '{self.tensor}'; here are: {', '.join(sorted(specs))}")
        return {**specs, self.target(): replace(self.spec(spec), name=self.target())}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return {**tensors, self.target(): self.value(tensors[self.tensor])}

    def spec(self, spec: TensorSpec) -> TensorSpec:
        return spec

    def value(self, array: Array) -> Array:
        return array


class Cast(OneTensor, frozen=True, tag="cast"):
    dtype: str

    def spec(self, spec: TensorSpec) -> TensorSpec:
        if self.dtype not in DTYPES:
            raise InvalidField(f"'{self.dtype}' is not a dtype; known: {', '.join(sorted(DTYPES))}")
        return replace(spec, dtype=self.dtype)

    def value(self, array: Array) -> Array:
        return array.astype(self.dtype, copy=False)


class Scale(OneTensor, frozen=True, tag="scale"):
    """value * by + offset, as float32 (float64 stays)."""

    by: float = 1.0
    offset: float = 0.0

    def spec(self, spec: TensorSpec) -> TensorSpec:
        return replace(_numeric(spec), dtype=_floating(spec.dtype))

    def value(self, array: Array) -> Array:
        kind = np.dtype(_floating(array.dtype.name)).type
        scaled: Array = np.multiply(array, kind(self.by), dtype=kind)
        return scaled if self.offset == 0.0 else np.add(scaled, kind(self.offset))


class Normalise(OneTensor, frozen=True, tag="normalise"):
    """(value - mean) / std, one pair for each entry of `axis`; as float32 (float64 stays)."""

    mean: list[float]
    std: list[float]
    axis: int = -1

    def spec(self, spec: TensorSpec) -> TensorSpec:
        axis = _row_axis(self.axis, spec)
        size = spec.shape[axis]
        if len(self.mean) != len(self.std) or (len(self.mean) != 1 and size is not None and len(self.mean) != size):
            raise InvalidField(f"mean and std need one number each, or one for each of the {size} entries of the axis")
        if not self.std or 0.0 in self.std:
            raise InvalidField("std must not be empty nor hold 0")
        return replace(_numeric(spec), dtype=_floating(spec.dtype))

    def value(self, array: Array) -> Array:
        kind = np.dtype(_floating(array.dtype.name)).type
        shape = [1] * array.ndim
        shape[self.axis] = len(self.mean)
        mean, std = (np.asarray(values, kind).reshape(shape) for values in (self.mean, self.std))
        return np.asarray((array.astype(kind, copy=False) - mean) / std)


class Reshape(OneTensor, frozen=True, tag="reshape"):
    """`shape`: of one row, without the batch axis; one entry may be -1."""

    shape: list[int]

    def spec(self, spec: TensorSpec) -> TensorSpec:
        if any(size < -1 or size == 0 for size in self.shape) or self.shape.count(-1) > 1:
            raise InvalidField("shape takes lengths of 1 and more, and -1 once")
        old, new = spec.shape[1:], [None if size == -1 else size for size in self.shape]
        if None not in old:
            total, known = math.prod(n for n in old if n), math.prod(n for n in new if n)
            if None in new and total % known == 0:
                new[new.index(None)] = total // known
            elif None in new or total != known:
                raise InvalidField(f"rows of shape {list(old)} cannot take shape {self.shape}")
        return replace(spec, shape=(spec.shape[0], *new))

    def value(self, array: Array) -> Array:
        return array.reshape(array.shape[0], *self.shape)


class Flatten(OneTensor, frozen=True, tag="flatten"):
    def spec(self, spec: TensorSpec) -> TensorSpec:
        rest = spec.shape[1:]
        size = None if None in rest else math.prod(n for n in rest if n is not None)
        return replace(spec, shape=(spec.shape[0], size))

    def value(self, array: Array) -> Array:
        return array.reshape(array.shape[0], math.prod(array.shape[1:]))


class Transpose(OneTensor, frozen=True, tag="transpose"):
    """`axes`: the new order of axes 1, 2, ...; the batch axis stays where it is."""

    axes: list[int]

    def spec(self, spec: TensorSpec) -> TensorSpec:
        if sorted(self.axes) != list(range(1, len(spec.shape))):
            raise InvalidField(f"axes must hold each of {list(range(1, len(spec.shape)))} once")
        return replace(spec, shape=(spec.shape[0], *(spec.shape[axis] for axis in self.axes)))

    def value(self, array: Array) -> Array:
        return array.transpose(0, *self.axes)


class Rename(Step, frozen=True, tag="rename"):
    tensor: Name
    to: Name

    def specs(self, specs: Specs) -> dict[str, TensorSpec]:
        if self.tensor not in specs:
            raise InvalidField(f"there is no tensor '{self.tensor}'; here are: {', '.join(sorted(specs))}")
        if self.to != self.tensor and self.to in specs:
            raise InvalidField(f"there is a tensor '{self.to}' already")
        return {
            (self.to if name == self.tensor else name): (replace(spec, name=self.to) if name == self.tensor else spec)
            for name, spec in specs.items()
        }

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return {(self.to if name == self.tensor else name): array for name, array in tensors.items()}


class Select(Step, frozen=True, tag="select"):
    """Keeps these tensors, in this order, and drops the rest."""

    tensors: Annotated[list[Name], msgspec.Meta(min_length=1)]

    def specs(self, specs: Specs) -> dict[str, TensorSpec]:
        for name in self.tensors:
            if name not in specs:
                raise InvalidField(f"there is no tensor '{name}'; here are: {', '.join(sorted(specs))}")
        return {name: specs[name] for name in self.tensors}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        return {name: tensors[name] for name in self.tensors}


class Softmax(OneTensor, frozen=True, tag="softmax"):
    axis: int = -1

    def spec(self, spec: TensorSpec) -> TensorSpec:
        _row_axis(self.axis, spec)
        return replace(_numeric(spec), dtype=_floating(spec.dtype))

    def value(self, array: Array) -> Array:
        values = array.astype(_floating(array.dtype.name), copy=False)
        powers = np.exp(values - values.max(axis=self.axis, keepdims=True))
        return np.asarray(powers / powers.sum(axis=self.axis, keepdims=True))


class Sigmoid(OneTensor, frozen=True, tag="sigmoid"):
    def spec(self, spec: TensorSpec) -> TensorSpec:
        return replace(_numeric(spec), dtype=_floating(spec.dtype))

    def value(self, array: Array) -> Array:
        values = array.astype(_floating(array.dtype.name), copy=False)
        small = np.exp(-np.abs(values))
        return np.asarray(np.where(values >= 0, 1 / (1 + small), small / (1 + small)))


class Argmax(OneTensor, frozen=True, tag="argmax"):
    """The index of the largest entry along the last axis, as int64, under the name `to`."""

    to: Name

    def target(self) -> str:
        return self.to

    def spec(self, spec: TensorSpec) -> TensorSpec:
        _row_axis(-1, spec)
        return replace(_numeric(spec), dtype="int64", shape=spec.shape[:-1])

    def value(self, array: Array) -> Array:
        return np.asarray(array.argmax(axis=-1))


class Labels(OneTensor, frozen=True, tag="labels"):
    """The text that belongs to each index, under the name `to`; an index without text gives its number."""

    to: Name
    labels: Annotated[list[str], msgspec.Meta(min_length=1, max_length=200_000)]

    def target(self) -> str:
        return self.to

    def spec(self, spec: TensorSpec) -> TensorSpec:
        if not spec.dtype.startswith(("int", "uint")):
            raise InvalidField(f"'{self.tensor}' is {spec.dtype}; labels need whole numbers")
        return replace(spec, dtype=TEXT)

    def value(self, array: Array) -> Array:
        found = [
            self.labels[index] if 0 <= index < len(self.labels) else str(index) for index in array.reshape(-1).tolist()
        ]
        return np.asarray(found, dtype=np.str_).reshape(array.shape)


class TopK(Step, frozen=True, tag="top_k"):
    """The `k` largest entries of the last axis, best first: `<tensor>_top_scores` and `<tensor>_top_indices`."""

    tensor: Name
    k: Size
    labels: Annotated[list[str], msgspec.Meta(max_length=200_000)] | None = None

    def specs(self, specs: Specs) -> dict[str, TensorSpec]:
        spec = specs.get(self.tensor)
        if spec is None:
            raise InvalidField(f"there is no tensor '{self.tensor}'; here are: {', '.join(sorted(specs))}")
        size = _numeric(spec).shape[_row_axis(-1, spec)]
        if size is not None and self.k > size:
            raise InvalidField(f"k is {self.k}, and the last axis has {size} entries")
        shape = (*spec.shape[:-1], self.k)
        added = [
            replace(spec, name=f"{self.tensor}_top_scores", shape=shape),
            replace(spec, name=f"{self.tensor}_top_indices", shape=shape, dtype="int64"),
        ]
        if self.labels is not None:
            added.append(replace(spec, name=f"{self.tensor}_top_labels", shape=shape, dtype=TEXT))
        return {**specs, **{one.name: one for one in added}}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        array = tensors[self.tensor]
        order = np.argsort(-array.astype(np.float64), axis=-1, kind="stable")[..., : self.k]
        found = {
            **tensors,
            f"{self.tensor}_top_scores": np.take_along_axis(array, order, axis=-1),
            f"{self.tensor}_top_indices": order,
        }
        if self.labels is not None:
            named = Labels(tensor=self.tensor, to=self.tensor, labels=self.labels)
            found[f"{self.tensor}_top_labels"] = named.value(order)
        return found


def _floating(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def _numeric(spec: TensorSpec) -> TensorSpec:
    if spec.dtype == TEXT:
        raise InvalidField(f"'{spec.name}' holds text; this step needs numbers")
    return spec


def _row_axis(axis: int, spec: TensorSpec) -> int:
    """The axis counted from 0. Raises InvalidField for the batch axis and for one that is not there."""
    found = axis + len(spec.shape) if axis < 0 else axis
    if not 0 < found < len(spec.shape):
        raise InvalidField(f"'{spec.name}' has no axis {axis} beside its batch axis")
    return found
