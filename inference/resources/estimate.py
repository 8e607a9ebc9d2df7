"""How much memory one instance of a model takes: estimated at registration, measured at the first load.

On a card it is weights + activations of the largest batch + workspace + CUDA context; `inference.engines.memory` says
where the first two come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from inference.resources.sizes import MAX_BYTES

WORKSPACE_BYTES = 128 << 20
"""For cuBLAS (32 MiB a handle on Hopper, says its manual) and the convolutions' scratch space; an assumption."""
CONTEXT_BYTES = 450 << 20
"""A CUDA context with the kernels of ONNX Runtime, 300 to 500 MiB by card and driver; an assumption."""
WEIGHT_COPIES = 2
"""On the CPU, weights are packed anew for the processor's kernels beside the old ones while a model loads."""


class HasEstimate(Protocol):
    """A model version."""

    @property
    def estimate(self) -> Mapping[str, Any]: ...


class HasMemory(Protocol):
    """A profile: what was measured on one kind of device."""

    @property
    def memory_bytes(self) -> int | None: ...

    @property
    def memory_basis(self) -> str | None: ...


class HasBatch(Protocol):
    """A service's config."""

    @property
    def max_batch(self) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Of one instance. `basis`: in words, where the number comes from; 0 with the basis "unknown" if nobody knows."""

    bytes: int
    basis: str


_GUESSED = "estimated: "
UNKNOWN = MemoryNeed(bytes=0, basis="unknown")


def is_guess(need: MemoryNeed) -> bool:
    """Whether nobody has measured it."""
    return need == UNKNOWN or need.basis.startswith(_GUESSED)


def memory_need(
    model: HasEstimate, profile: HasMemory | None, config: HasBatch, *, on_card: bool, max_batch: int = 64
) -> MemoryNeed:
    """What one instance takes of a card (`on_card`), or of its host beside the bare process: as measured, else as
    estimated, else unknown.

    `profile`: of the kind of device in question, None where the model never ran on it. `max_batch`: the batch limit
    of a service whose config names none.
    """
    if profile is not None and profile.memory_bytes is not None:
        return MemoryNeed(bytes=profile.memory_bytes, basis=profile.memory_basis or "measured")
    told = model.estimate
    weights = told.get("weight_bytes")
    if not isinstance(weights, int):
        return UNKNOWN
    rows = config.max_batch or max_batch
    activations = told.get("fixed_bytes", 0) + rows * told.get("row_bytes", 0)
    parts = {"weights": weights if on_card else WEIGHT_COPIES * weights, f"activations at batch {rows}": activations}
    parts |= {"workspace": WORKSPACE_BYTES, "CUDA context": CONTEXT_BYTES} if on_card else {}
    if "row_bytes" not in told:
        del parts[f"activations at batch {rows}"]
    said = " + ".join(f"{_mib(size)} MiB {name}" for name, size in parts.items())
    return MemoryNeed(bytes=min(sum(parts.values()), MAX_BYTES), basis=f"{_GUESSED}{said}")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}".removesuffix(".0")
