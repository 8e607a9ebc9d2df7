"""How far two answers are from each other. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from inference.results.model import Difference, Outputs
from inference.tensors import NAMES, Array

TOLERANCE = 1e-5
"""Largest difference of two numbers that still agree, if nothing is said."""

KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "float", "U": "text"}
_NO_NUMBERS = frozenset(orjson.loads(name) for name in NAMES.values())


def read(body: bytes) -> Outputs:
    """The outputs in the JSON of a result. Null and the names of what is no number are NaN and infinity again.

    An output that is no array (rows of different lengths) comes as one text: it can be the same, or not.
    """
    return {name: _array(value) for name, value in orjson.loads(body).items()}


def differences(reference: Outputs, other: Outputs, *, tolerance: float = TOLERANCE) -> tuple[Difference, ...]:
    """For each output of either, in order of the reference; what stands on one side only is said to."""
    found = []
    for name in [*reference, *(name for name in other if name not in reference)]:
        if name not in other:
            found.append(Difference(name=name, note="Only the reference has this output."))
        elif name not in reference:
            found.append(Difference(name=name, note="The reference does not have this output."))
        else:
            found.append(_difference(name, reference[name], other[name], tolerance))
    return tuple(found)


def top1(array: Array) -> NDArray[np.intp] | None:
    """Where the largest entry of each row stands; None where rows have no two entries, or no numbers."""
    if array.dtype.kind not in "iuf" or array.ndim < 2 or array.shape[-1] < 2 or not array.size:
        return None
    floats = array.astype(np.float64)
    places: NDArray[np.intp] = np.argmax(np.where(np.isnan(floats), -np.inf, floats), axis=-1)
    return places


def _array(value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return np.array(orjson.dumps(value).decode())
    if array.dtype.kind in "biuf":
        return array
    cells: Sequence[Any] = np.array(value, dtype=object).ravel().tolist()
    if all(cell is None or isinstance(cell, int | float) or str(cell) in _NO_NUMBERS for cell in cells):
        return np.array([float("nan") if cell is None else float(cell) for cell in cells]).reshape(array.shape)
    return np.array([str(cell) for cell in cells]).reshape(array.shape)


def _difference(name: str, mine: Array, its: Array, tolerance: float) -> Difference:
    kinds = KINDS[mine.dtype.kind], KINDS[its.dtype.kind]
    if mine.shape != its.shape:
        note = f"Its shape is {list(its.shape)}, that of the reference {list(mine.shape)}."
        return Difference(name=name, kind=kinds[1], shape=its.shape, note=note)
    other_kind = None if kinds[0] == kinds[1] else f"It is {kinds[1]}, the reference {kinds[0]}."
    if "text" in kinds:
        if other_kind is not None:
            return Difference(name=name, kind=kinds[1], shape=its.shape, note=other_kind)
        share = float(np.mean(mine == its)) if mine.size else 1.0
        return Difference(name=name, kind="text", shape=its.shape, equal_share=share, agrees=share == 1.0)
    a, b = mine.astype(np.float64), its.astype(np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    is_equal = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(over="ignore"):
        away = np.abs(a[both] - b[both])
    max_abs = float(away.max()) if away.size else 0.0
    return Difference(
        name=name,
        kind=kinds[1],
        shape=its.shape,
        note=other_kind,
        max_abs=max_abs,
        mean_abs=float((away / max(away.size, 1)).sum()),
        cosine=_cosine(a[both], b[both]),
        top1_agreement=_agreement(mine, its),
        equal_share=float(is_equal.mean()) if a.size else 1.0,
        agrees=other_kind is None and max_abs <= tolerance and bool((both | is_equal).all()),
    )


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """None where one of them is zero, or there is nothing: then there is no angle."""
    largest = [float(np.abs(one).max(initial=0.0)) for one in (a, b)]
    if not all(largest):
        return None
    a, b = a / largest[0], b / largest[1]  # so that no square is too large or too small for a float
    return float(np.clip(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def _agreement(mine: Array, its: Array) -> float | None:
    first, second = top1(mine), top1(its)
    return None if first is None or second is None else float(np.mean(first == second))
