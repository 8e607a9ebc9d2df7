"""An engine that sleeps as long as its rows say, for benchmarks of what is around an engine."""

import time
from typing import Any

import numpy as np

from inference.engines.base import LoadSpec
from inference.tensors import Array, Tensors, TensorSpec

PLUGIN = "sleeping=benchmarks.sleeping:Sleeping"


class Sleeping:
    """`seconds`, float32 [null, 1]: how long each row takes; given back as it came. `load_s`: how long a load takes."""

    provider = "cpu"
    inputs = (TensorSpec(name="seconds", dtype="float32", shape=(None, 1)),)
    outputs = (TensorSpec(name="seconds", dtype="float32", shape=(None, 1)),)

    def __init__(self, spec: LoadSpec) -> None:
        time.sleep(float(spec.options.get("load_s", 0)))

    def run(self, inputs: Tensors) -> dict[str, Array]:
        seconds: Any = inputs["seconds"]
        time.sleep(float(np.clip(seconds, 0, 60).sum()))
        return {"seconds": np.asarray(seconds)}

    def close(self) -> None:
        """Nothing is held."""
