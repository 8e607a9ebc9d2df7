"""The trial of a new model: load it, find its signature, run it, and keep what it answered.

Runs in the throw-away child (`inspect_child`); nothing here limits anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference.engines import hooks, memory, selfcheck
from inference.engines.base import Engine
from inference.engines.memory import Accountable, Statistics
from inference.errors import EngineFailed, InvalidField, ModelInvalid, OutOfMemory, PenstockError
from inference.registry.model import Signature
from inference.tensors import Array, Tensors, TensorSpec

SEED = 20_240_229
GUESSES = (8, 32, 224, 1)
"""Lengths tried, in turn, for axes that the model leaves open."""
ALONE_SHARE = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`golden` as `selfcheck.seal` wrote it. `estimate`: of its memory, as `engines.memory.of_trial` made it."""

    signature: Signature
    golden: bytes
    estimate: Mapping[str, Any] = field(default_factory=dict)


def run(engine: Engine, model_hooks: hooks.Hooks, golden: Mapping[str, Any]) -> Trial:
    """Runs the model twice on one input, and once on its first row alone.

    `golden`: what `deployment_config.golden` says of the input, by tensor. Raises ModelInvalid, InvalidField.
    """
    inputs, outputs = hooks.outer(model_hooks, engine.inputs, engine.outputs)
    _check_hints(golden, inputs)
    sample, fed, got = _first_answer(engine, model_hooks, inputs, golden)
    _check_outputs(got, engine.outputs)
    rows = next(iter(fed.values())).shape[0]
    seen = _statistics(engine, rows)
    again = engine.run(fed)
    is_steady = all(not selfcheck.difference(again[name], got[name], selfcheck.SHARES["cpu"]) for name in got)
    joins = _joins(engine, fed, got, is_steady)
    model_hooks.after(got)
    return Trial(
        signature=Signature(
            inputs=inputs, outputs=outputs, engine_inputs=engine.inputs, engine_outputs=engine.outputs, joins=joins
        ),
        golden=selfcheck.seal(sample, got if is_steady else {}),
        estimate=_estimate(engine, [*seen, *_statistics(engine, rows + 1)]),
    )


def _statistics(engine: Engine, rows: int) -> list[Statistics]:
    found = engine.statistics(rows=rows) if isinstance(engine, Accountable) else None
    return [found] if found is not None else []


def _estimate(engine: Engine, seen: Sequence[Statistics]) -> dict[str, Any]:
    """The last of `seen` counts only where a call was really larger than that of the first."""
    if not isinstance(engine, Accountable):
        return {}
    has_grown = len(seen) > 1 and seen[-1].total_bytes > seen[0].total_bytes
    return memory.of_trial(weight_bytes=engine.weight_bytes(), seen=seen if has_grown else seen[:1])


def _first_answer(
    engine: Engine, model_hooks: hooks.Hooks, inputs: Sequence[TensorSpec], golden: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """The first sample that the model accepts, what the engine was fed, and what it answered."""
    refusal: PenstockError | None = None
    for sample in _samples(model_hooks, inputs, golden):
        try:
            fed = model_hooks.before(sample)
            return sample, fed, engine.run(fed)
        except OutOfMemory:
            raise
        except PenstockError as error:
            refusal = refusal or error
    message = refusal.message if refusal else "no input could be made"
    raise ModelInvalid(
        f"The model's trial run failed: {message} If it needs a real input, give one as deployment_config.golden."
    ) from refusal


def _samples(
    model_hooks: hooks.Hooks, inputs: Sequence[TensorSpec], golden: Mapping[str, Any]
) -> Iterator[dict[str, Array]]:
    given = {spec.name: array for spec in inputs if (array := _given(golden.get(spec.name), spec)) is not None}
    counts = {array.shape[0] for array in given.values()}
    if len(counts) > 1:
        raise InvalidField(
            "deployment_config.golden gives different numbers of rows.", field="deployment_config.golden"
        )
    is_open = any(None in spec.shape[1:] for spec in inputs if spec.name not in given)
    ready = hooks.examples(model_hooks, np.random.default_rng(SEED))
    for rows in counts or (2, 1):
        for guess in GUESSES if is_open else GUESSES[:1]:
            for is_plain in (False, True):
                rng = np.random.default_rng(SEED)
                yield {
                    spec.name: given[spec.name]
                    if spec.name in given
                    else np.repeat(ready[spec.name][None], rows, axis=0)
                    if spec.name in ready
                    else _made(spec, rows, _shape(golden.get(spec.name), spec), guess, None if is_plain else rng)
                    for spec in inputs
                }


def _made(
    spec: TensorSpec, rows: int, hint: Sequence[int] | None, guess: int, rng: np.random.Generator | None
) -> Array:
    """Floats from 0 to 1, bytes from 0 to 255, other whole numbers 0 and 1; without `rng` nothing but zeros."""
    shape = (rows, *(hint if hint is not None else (guess if size is None else size for size in spec.shape[1:])))
    if rng is None:
        return np.zeros(shape, spec.dtype)
    if spec.dtype.startswith("float"):
        return rng.random(shape).astype(spec.dtype)
    return rng.integers(0, 256 if spec.dtype == "uint8" else 2, shape).astype(spec.dtype)


def _check_hints(golden: Mapping[str, Any], inputs: Sequence[TensorSpec]) -> None:
    names = [spec.name for spec in inputs]
    for name in golden:
        if name not in names:
            raise _bad_golden(str(name), f"names no input; the inputs are {', '.join(names)}")


def _given(raw: object, spec: TensorSpec) -> Array | None:
    """The tensor that a hint holds, with its batch axis; None when it gives only a shape, or nothing."""
    data = raw.get("data") if isinstance(raw, Mapping) else raw
    if data is None:
        return None
    try:
        array: Array = np.asarray(data, dtype=spec.dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise _bad_golden(spec.name, f"does not hold {spec.dtype} numbers") from error
    if array.ndim == len(spec.shape) - 1:
        array = array[None]
    if array.ndim != len(spec.shape) or not all(
        size in (None, have) for size, have in zip(spec.shape[1:], array.shape[1:], strict=True)
    ):
        raise _bad_golden(spec.name, f"has shape {list(array.shape)}, and the input is {list(spec.shape)}")
    return array


def _shape(raw: object, spec: TensorSpec) -> list[int] | None:
    """The row shape that a hint `{"shape": [...]}` gives; its first entry, the batch, is left out."""
    if not isinstance(raw, Mapping) or raw.get("data") is not None:
        return None
    shape = raw.get("shape")
    is_list = isinstance(shape, list) and all(isinstance(n, int) and 0 < n <= 1 << 24 for n in shape)
    if not isinstance(shape, list) or not is_list or len(shape) != len(spec.shape):
        raise _bad_golden(spec.name, "must hold 'data', or a 'shape' with as many axes as the input")
    if not all(size in (None, have) for size, have in zip(spec.shape[1:], shape[1:], strict=True)):
        raise _bad_golden(spec.name, f"has shape {shape}, and the input is {list(spec.shape)}")
    return shape[1:]


def _check_outputs(got: Tensors, outputs: Sequence[TensorSpec]) -> None:
    for spec in outputs:
        array = got.get(spec.name)
        if array is None:
            raise ModelInvalid(f"The model promises an output '{spec.name}' and did not give it.")
        if array.dtype.kind == "f" and array.size and not np.isfinite(array).any():
            raise ModelInvalid(
                f"Output '{spec.name}' of the trial run holds nothing but NaN or infinity; "
                "if the model needs a real input, give one as deployment_config.golden."
            )


def _joins(engine: Engine, fed: Tensors, got: Tensors, is_steady: bool) -> bool:
    """Whether the first row gets the same answer alone as beside others, and every output has a row for each."""
    rows = next(iter(fed.values())).shape[0]
    if any(array.ndim == 0 or array.shape[0] != rows for array in got.values()):
        return False
    try:
        doubled = {name: np.concatenate([array[:1], array]) for name, array in fed.items()}
        alone, among = engine.run({name: array[:1] for name, array in fed.items()}), engine.run(doubled)
    except EngineFailed:
        return False
    if any(array.ndim == 0 or array.shape[0] != rows + 1 for array in among.values()):
        return False
    return not is_steady or all(
        not selfcheck.difference(alone[name][:1], got[name][:1], ALONE_SHARE)
        and not selfcheck.difference(among[name][1:], got[name], ALONE_SHARE)
        for name in got
    )


def _bad_golden(name: str, what: str) -> InvalidField:
    return InvalidField(f"deployment_config.golden.{name[:80]} {what}.", field=f"deployment_config.golden.{name[:80]}")
