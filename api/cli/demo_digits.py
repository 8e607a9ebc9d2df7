"""What the demo sends: the digits classifier of examples/digits, and the images it was not trained on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.failure import CallFailed

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One test image: 8 x 8 pixels, 0 to 16, and the digit that it shows."""

    pixels: list[list[int]]
    label: int

    @property
    def input_data(self) -> dict[str, Any]:
        return {"image": [self.pixels]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """`registration`: the body for `POST /v1/models/register`."""

    name: str
    version: str
    registration: dict[str, Any]
    pictures: tuple[Picture, ...]


def load(folder: Path = FOLDER) -> Digits:
    """Reads model.json and test_images.npz. Raises CallFailed where the examples are not there."""
    import numpy as np

    try:
        registration = json.loads((folder / "model.json").read_text())
        with np.load(folder / "test_images.npz") as archive:
            images, labels = archive["images"], archive["labels"]
    except OSError as error:
        raise CallFailed(
            f"The demo needs examples/digits of the repository ({error}); run ./penstock demo in a checkout.",
            code="examples_missing",
        ) from error
    registration["model_path"] = str((folder / registration["model_path"]).absolute())
    pairs = zip(images.tolist(), labels.tolist(), strict=True)
    return Digits(
        name=registration["name"],
        version=registration["version"],
        registration=registration,
        pictures=tuple(Picture(pixels=pixels, label=label) for pixels, label in pairs),
    )


def predicted(result: Mapping[str, Any]) -> int:
    """The digit in a result, which has one row."""
    return int(result["label"][0])
