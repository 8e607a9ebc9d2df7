"""The two models of every benchmark: a tiny one, where all is overhead, and a medium one, where batching pays."""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

from examples.medium.make import INPUTS
from examples.medium.make import make as write


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An ONNX file and requests for it. `bodies` differ from one another, so that nothing can be cached."""

    kind: str
    path: Path
    bodies: tuple[str, ...]


def make(kind: str, folder: Path) -> Model:
    """Writes the model into `folder`; the same bytes each time."""
    return Model(kind=kind, path=write(folder / f"{kind}.onnx", kind), bodies=_bodies())


def _bodies(count: int = 64) -> tuple[str, ...]:
    dice = random.Random(INPUTS)
    rows = ([round(dice.uniform(-1, 1), 4) for _ in range(INPUTS)] for _ in range(count))
    return tuple(json.dumps({"input_data": {"x": [row]}}) for row in rows)


def curve(path: Path, *, sizes: tuple[int, ...] = (1, 4, 16, 64), seconds: float = 0.5) -> dict[str, float]:
    """Bare `session.run` on one core: rows a second at each batch size. The ceiling of everything below."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rates = {}
    for size in sizes:
        feeds = {"x": numpy.random.default_rng(1).random((size, INPUTS), dtype=numpy.float32)}
        session.run(None, feeds)
        start, runs = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            session.run(None, feeds)
            runs += 1
        rates[str(size)] = runs * size / (time.perf_counter() - start)
    return rates
