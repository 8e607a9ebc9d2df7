"""Does this engine, here, at this optimisation level, still answer as it did at registration?"""

import numpy as np

from inference.engines.base import Engine
from inference.engines.hooks import Hooks
from inference.errors import EngineLoadFailed
from inference.tensors import Array, Tensors, pack, unpack

SHARES = {"cpu": 2e-3, "cuda": 2e-2}
"""How far an output may be off, as a share of its largest stored value."""

_IN, _OUT = "in/", "out/"


def seal(inputs: Tensors, outputs: Tensors) -> bytes:
    """The golden pair as bytes: what a client sends, and what the engine (not the client) gets out of it.

    `outputs` is empty for a model that does not answer the same thing twice.
    """
    return pack(
        {
            **{_IN + name: array for name, array in inputs.items()},
            **{_OUT + name: array for name, array in outputs.items()},
        }
    )


def unseal(golden: bytes) -> tuple[dict[str, Array], dict[str, Array]]:
    """What `seal` was given."""
    tensors = unpack(golden)
    inputs = {name.removeprefix(_IN): array for name, array in tensors.items() if name.startswith(_IN)}
    outputs = {name.removeprefix(_OUT): array for name, array in tensors.items() if name.startswith(_OUT)}
    return inputs, outputs


def check(engine: Engine, hooks: Hooks, golden: bytes) -> dict[str, Array]:
    """Runs the golden input through hooks and engine. Returns the engine inputs, fit to profile with.

    Raises EngineLoadFailed with what differs; what the engine itself raises passes through.
    """
    inputs, expected = unseal(golden)
    fed = hooks.before(inputs)
    got = engine.run(fed)
    for name, wanted in expected.items():
        if name not in got:
            raise EngineLoadFailed(f"The self-check failed: output '{name}' is missing.", tensor=name)
        if problem := difference(got[name], wanted, SHARES.get(engine.provider, SHARES["cpu"])):
            raise EngineLoadFailed(
                f"The self-check failed: output '{name}' {problem}, compared with registration.", tensor=name
            )
    hooks.after(got)
    return fed


def difference(got: Array, wanted: Array, share: float) -> str:
    """What is wrong with `got`, in words; empty when nothing is.

    Floats may be off by `share` of the largest wanted value; the rest must be equal, but on a GPU a near tie may
    fall the other way, so that with a wide `share` only the form counts there.
    """
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"is {got.dtype} {list(got.shape)} instead of {wanted.dtype} {list(wanted.shape)}"
    if wanted.dtype.kind != "f":
        return "" if share > SHARES["cpu"] or np.array_equal(got, wanted) else "differs"
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(finite, np.isfinite(a)):
        return "is finite in other places"
    a, b = a[finite], b[finite]
    largest = float(np.abs(b).max(initial=0.0))
    apart = float(np.abs(a - b).max(initial=0.0))
    return "" if apart <= share * largest + 1e-6 else f"is off by {apart:.3g} (values up to {largest:.3g})"
