"""What every engine promises. One file per engine; `catalog.py` finds them by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from inference.tensors import Array, Tensors, TensorSpec


class Report(Protocol):
    """Says how far the engine call under way is. Any thread, as often as it likes: it returns at once, never raises."""

    def __call__(self, fraction: float, message: str = "", *, row: int | None = None) -> None:
        """`fraction`: 0 to 1. Of all tasks of the call, or of that with this row of the batch alone.

        The owner of each task reads `message`: without a row it may hold nothing of an input. It gives no more time.
        """
        ...


def nobody_asks(fraction: float, message: str = "", *, row: int | None = None) -> None:
    """A `Report` that goes nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """How to open an artefact. `provider`: auto, cpu or cuda; `device`: cpu, or the GPU's UUID.

    `derived`: a folder on this host for files that are made from this artefact alone; None where none shall be made.
    `statistics`: a file for what the engine notes of its memory (`engines.memory`), at some cost; None: nothing.
    `report`: to be called by an engine whose calls take long, if it knows how far one is.
    """

    path: Path
    provider: str = "auto"
    device: str = "cpu"
    threads: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    derived: Path | None = None
    statistics: Path | None = None
    report: Report = nobody_asks


class Engine(Protocol):
    """A loaded model. One call at a time; the thread may change between calls."""

    @property
    def provider(self) -> str:
        """The one that really runs, `cpu` or `cuda`; never merely the one that was asked for."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """One call on tensors whose first axis is the batch. Raises EngineFailed or OutOfMemory."""
        ...

    def close(self) -> None:
        """Gives memory back. Safe to call twice."""
        ...


@runtime_checkable
class Stoppable(Protocol):
    """An engine whose call can be ended from another thread; one without is ended with its process."""

    def stop(self) -> None:
        """The call under way, if any, soon raises RunStopped. Returns at once; the engine stays good for the next."""
        ...


class EngineFactory(Protocol):
    """Loads a model. Raises EngineLoadFailed with one sentence that says why.

    A class or function that runs code out of the artefact, whatever the artefact looks like, says so by an attribute
    `runs_code = True`; then its models need an admin's leave. `inference.registry.formats` knows the usual formats.
    """

    def __call__(self, spec: LoadSpec) -> Engine: ...
