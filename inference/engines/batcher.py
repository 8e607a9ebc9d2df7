"""Puts the rows of several jobs into one engine call, and takes them apart again."""

from collections.abc import Sequence

import numpy as np

from inference.engines.base import Engine
from inference.errors import EngineLoadFailed, InvalidTensor, OutputInvalid
from inference.tensors import Array, Tensors, TensorSpec


def rows_of(tensors: Tensors) -> int:
    """The length of the batch axis, which all tensors share. Raises InvalidTensor where they do not."""
    lengths: dict[str, int] = {name: array.shape[0] for name, array in tensors.items() if array.ndim}
    if len(lengths) < len(tensors) or len(set(lengths.values())) != 1:
        raise InvalidTensor("The tensors of one job must share the length of their first axis.", got=lengths)
    return next(iter(lengths.values()))


def join(parts: Sequence[Tensors]) -> dict[str, Array]:
    """One tensor per name, the parts one after another along axis 0. A single part is not copied."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split(outputs: Tensors, rows: Sequence[int]) -> list[dict[str, Array]]:
    """What belongs to each part, as views, in the order of `rows`. A single part gets everything.

    Raises OutputInvalid when an output has not one entry per row.
    """
    if len(rows) == 1:
        return [dict(outputs)]
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != total:
            raise OutputInvalid(
                f"Output '{name}' of shape {list(array.shape)} does not follow the batch axis of {total} rows.",
                tensor=name,
            )
    ends = np.cumsum(rows).tolist()
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for end, count in zip(ends, rows, strict=True)
    ]


def pad(tensors: Tensors, rows: int) -> dict[str, Array]:
    """Grows the batch axis to `rows` by repeating the last row, whose values the model surely accepts."""
    missing = rows - rows_of(tensors)
    if missing <= 0:
        return dict(tensors)
    return {name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for name, array in tensors.items()}


def fixed_rows(inputs: Sequence[TensorSpec]) -> int | None:
    """The batch length that the model insists on; None when it takes any.

    Raises EngineLoadFailed when two inputs insist on different ones.
    """
    lengths = {spec.shape[0] for spec in inputs if spec.shape and spec.shape[0] is not None}
    if len(lengths) > 1:
        listed = ", ".join(sorted(map(str, lengths)))
        raise EngineLoadFailed(
            f"The model's inputs fix different batch lengths ({listed}); the first axis must be the batch."
        )
    return lengths.pop() if lengths else None


class AnyRows:
    """An engine whose model has a fixed batch axis, as one that takes any number of rows: cut, padded, put together."""

    def __init__(self, engine: Engine, rows: int) -> None:
        self._engine = engine
        self.fixed_rows = rows
        self._at, self._rows = 0, rows

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.outputs

    def run(self, inputs: Tensors) -> dict[str, Array]:
        rows, size = rows_of(inputs), self.fixed_rows
        self._at, self._rows = 0, rows
        if rows == size:
            return self._engine.run(inputs)
        calls = []
        for start in range(0, rows, size):
            self._at = start
            part = {name: array[start : start + size] for name, array in inputs.items()}
            calls.append(self._engine.run(pad(part, size)))
        return {name: array[:rows] for name, array in join(calls).items()}

    def whole(self, fraction: float, row: int | None) -> tuple[float, int | None]:
        """What the engine says of a part, as said of the whole: a fraction of all rows, or of a row among all."""
        if row is not None:
            return fraction, self._at + row
        done = self._at + fraction * min(self.fixed_rows, self._rows - self._at)
        return done / max(1, self._rows), None

    def close(self) -> None:
        self._engine.close()


def any_rows(engine: Engine) -> Engine:
    """The engine itself, or wrapped where its model insists on a batch length."""
    rows = fixed_rows(engine.inputs)
    return engine if not rows else AnyRows(engine, rows)
