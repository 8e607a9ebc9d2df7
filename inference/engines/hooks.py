"""What happens to tensors before and after the engine: named steps, declared with the model.

The format is described in docs/hooks.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np

from inference.engines import steps, steps_media
from inference.engines.steps import Step
from inference.errors import EngineFailed, InvalidField, PenstockError
from inference.tensors import DTYPES, Array, Tensors, TensorSpec

_EITHER: tuple[type[Step], ...] = (
    steps.Cast,
    steps.Scale,
    steps.Normalise,
    steps.Reshape,
    steps.Flatten,
    steps.Transpose,
    steps.Rename,
    steps.Select,
)
BEFORE: tuple[type[Step], ...] = (
    *_EITHER,
    steps_media.Image,
    steps_media.Text,
)
AFTER: tuple[type[Step], ...] = (
    *_EITHER,
    steps.Softmax,
    steps.Sigmoid,
    steps.Argmax,
    steps.Labels,
    steps.TopK,
)
STEP_LIMIT = 64
FIELD = "deployment_config"

Specs: TypeAlias = tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """`declared`: the inputs that clients send, where they differ from the engine's."""

    declared: Specs | None = None
    first: tuple[Step, ...] = ()
    last: tuple[Step, ...] = ()

    @property
    def ragged(self) -> frozenset[str]:
        """Client inputs whose rows may differ in length between jobs of one batch.

        Where it is empty, jobs may be joined first and `before` called once; else it is called for each job.
        """
        return frozenset(name for name, _ in self.media())

    def media(self) -> Iterator[tuple[str, Step]]:
        """Each step that reads encoded rows, with the name under which clients send them."""
        sent_as: dict[str, str] = {}
        for step in self.first:
            if isinstance(step, steps.Rename):
                sent_as[step.to] = sent_as.pop(step.tensor, step.tensor)
            elif step.ragged is not None:
                yield sent_as.get(step.ragged, step.ragged), step

    def before(self, tensors: Tensors) -> dict[str, Array]:
        """What the engine gets, for any number of rows. Raises InvalidTensor for content that a step refuses."""
        return self._run(self.first, tensors)

    def after(self, tensors: Tensors) -> dict[str, Array]:
        """What the client gets."""
        return self._run(self.last, tensors)

    @staticmethod
    def _run(chain: Sequence[Step], tensors: Tensors) -> dict[str, Array]:
        try:
            for step in chain:
                tensors = step.run(tensors)
            return dict(tensors)
        except PenstockError:
            raise
        except Exception as error:
            raise EngineFailed(f"A processing step failed: {type(error).__name__}: {error}"[:400]) from error


def compile(hooks: Mapping[str, Any] | None) -> Hooks:  # noqa: A001 - the word of the room, used as hooks.compile
    """Reads `preprocess` and `postprocess`; other keys are nobody's business here.

    Raises InvalidField with one sentence that names the step.
    """
    hooks = hooks or {}
    before, after = hooks.get("preprocess"), hooks.get("postprocess")
    declared, first = _read("preprocess", before, BEFORE)
    if declared is None and any(step.ragged for step in first):
        raise InvalidField(
            f"{FIELD}.preprocess needs 'inputs': it reads encoded files or texts, which the model does not declare.",
            field=f"{FIELD}.preprocess.inputs",
        )
    _, last = _read("postprocess", after, AFTER)
    return Hooks(declared=declared, first=first, last=last)


def outer(
    hooks: Hooks, engine_inputs: Sequence[TensorSpec], engine_outputs: Sequence[TensorSpec]
) -> tuple[Specs, Specs]:
    """The signature that clients see: (inputs, outputs), their batch axis open.

    Raises InvalidField when a step does not fit, or when what comes out is not what the engine takes.
    """
    ragged = hooks.ragged
    start = tuple(_open(spec, is_ragged=spec.name in ragged) for spec in (hooks.declared or engine_inputs))
    made = _trace("preprocess", hooks.first, start)
    _compare(made, {spec.name: _open(spec) for spec in engine_inputs})
    given = _trace("postprocess", hooks.last, tuple(_open(spec) for spec in engine_outputs))
    return start, tuple(given.values())


def examples(hooks: Hooks, rng: np.random.Generator) -> dict[str, Array]:
    """One row for each client input that must hold something meaningful (an image, a text)."""
    found = {name: step.example(rng) for name, step in hooks.media()}
    return {name: row for name, row in found.items() if row is not None}


def _read(where: str, raw: object, known: tuple[type[Step], ...]) -> tuple[Specs | None, tuple[Step, ...]]:
    if raw is None:
        return None, ()
    if isinstance(raw, Mapping):
        allowed = ("inputs", "steps") if where == "preprocess" else ("steps",)
        if unknown := sorted(set(raw) - set(allowed), key=str):
            raise _bad(where, f"has no key '{unknown[0]}'; known: {', '.join(allowed)}")
        declared, listed = raw.get("inputs"), raw.get("steps", [])
    else:
        declared, listed = None, raw
    if not isinstance(listed, list | tuple) or len(listed) > STEP_LIMIT:
        raise _bad(where, f"must hold a list of at most {STEP_LIMIT} steps")
    chain = tuple(_step(f"{where} step {number}", one, known) for number, one in enumerate(listed, 1))
    return (None if declared is None else _inputs(declared)), chain


def _step(where: str, raw: object, known: tuple[type[Step], ...]) -> Step:
    kinds = {str(kind.__struct_config__.tag): kind for kind in known}
    if not isinstance(raw, Mapping) or "do" not in raw:
        raise _bad(where, "must be an object that says what to 'do'")
    kind = kinds.get(raw["do"]) if isinstance(raw["do"], str) else None
    if kind is None:
        raise _bad(where, f"cannot do '{str(raw['do'])[:80]}'; known: {', '.join(sorted(kinds))}")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _bad(where, f"({raw['do']}) is wrong: {str(error).replace('`$.', '`')}") from error


def _inputs(raw: object) -> Specs:
    if not isinstance(raw, list | tuple) or not raw:
        raise _bad("preprocess.inputs", "must be a list of objects with name, dtype and shape")
    specs = tuple(_input(f"preprocess.inputs[{index}]", one) for index, one in enumerate(raw))
    if len({spec.name for spec in specs}) < len(specs):
        raise _bad("preprocess.inputs", "names one input twice")
    return specs


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: steps.Name
    dtype: str
    shape: list[steps.Size | None]


def _input(where: str, raw: object) -> TensorSpec:
    try:
        declared = msgspec.convert(raw, _Declared)
    except msgspec.ValidationError as error:
        raise _bad(where, f"is wrong: {str(error).replace('`$.', '`')}") from error
    if declared.dtype not in DTYPES:
        raise _bad(where, f"has dtype '{declared.dtype[:40]}'; known: {', '.join(sorted(DTYPES))}")
    if not declared.shape or declared.shape[0] is not None:
        raise _bad(where, "must have a shape that begins with null, the batch axis")
    return TensorSpec(name=declared.name, dtype=declared.dtype, shape=tuple(declared.shape))


def _trace(where: str, chain: Sequence[Step], start: Specs) -> dict[str, TensorSpec]:
    specs = {spec.name: spec for spec in start}
    for number, step in enumerate(chain, 1):
        try:
            specs = step.specs(specs)
        except InvalidField as error:
            raise _bad(
                f"{where} step {number}", f"({step.__struct_config__.tag}) does not fit: {error.message}"
            ) from error
    return specs


def _compare(made: Mapping[str, TensorSpec], wanted: Mapping[str, TensorSpec]) -> None:
    if set(made) != set(wanted):
        raise _bad("preprocess", f"gives {_names(made)}, and the model takes {_names(wanted)}")
    for name, spec in wanted.items():
        got = made[name]
        fits = len(got.shape) == len(spec.shape) and all(
            a is None or b is None or a == b for a, b in zip(got.shape, spec.shape, strict=True)
        )
        if got.dtype != spec.dtype or not fits:
            raise _bad("preprocess", f"gives '{name}' as {_form(got)}, and the model takes {_form(spec)}")


def _names(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(specs)) or "nothing"


def _form(spec: TensorSpec) -> str:
    return f"{spec.dtype} [{', '.join('null' if size is None else str(size) for size in spec.shape)}]"


def _open(spec: TensorSpec, *, is_ragged: bool = False) -> TensorSpec:
    return TensorSpec(name=spec.name, dtype=spec.dtype, shape=(None, *spec.shape[1:]), is_ragged=is_ragged)


def _bad(where: str, what: str) -> InvalidField:
    return InvalidField(f"{FIELD}.{where} {what}.", field=f"{FIELD}.{where.split(' ')[0]}")
