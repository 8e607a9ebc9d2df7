"""Models that run code of their maker when they are loaded: which those are, and how that is refused."""

from dataclasses import dataclass
from pathlib import Path

from inference.engines import catalog
from inference.errors import ModelRunsCode
from inference.registry import formats
from inference.registry.model import ModelVersion

WAY_OUT = (
    "export the model to ONNX or safetensors, or have an admin register it with allow_code, and allow_code in the "
    "config of each service that runs it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What runs code: a format, or the engine of a framework. `why`: the rest of a sentence."""

    format: str
    why: str


def reason(artefact: Path, *, framework: str, plugins: str) -> Reason | None:
    """Why loading this artefact by that engine would run code that came with it; None when it would not.

    Nothing is loaded to find out. Raises InvalidField for an unknown framework, OSError for a file that is away.
    """
    found = formats.recognise(artefact)
    if found.runs_code:
        return Reason(format=found.name, why=found.why)
    if catalog.runs_code(framework, plugins):
        return Reason(format=found.name, why=f"the engine '{framework}' runs code out of it")
    return None


def refused(what: Reason) -> ModelRunsCode:
    """For an artefact that nobody allowed to run code."""
    return ModelRunsCode(
        f"Loading this model may run code of its maker ({what.format}: {what.why}); {WAY_OUT}.", format=what.format
    )


def not_allowed_here(model: ModelVersion, what: Reason | None = None) -> ModelRunsCode:
    """For a service that wants to load such a model, and whose config does not allow it."""
    told = f" ({what.format}: {what.why})" if what else ""
    return ModelRunsCode(
        f"Loading {model.name} {model.version} may run code of its maker{told}, and this service does not allow it: "
        "an admin must set allow_code to true in its config.",
        model_id=model.id,
        field="config.allow_code",
    )
