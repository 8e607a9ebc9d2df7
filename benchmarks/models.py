"""The two models of every benchmark: a tiny one, where all is overhead, and a medium one, where batching pays."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

INPUTS = {"tiny": 8, "medium": 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An ONNX file and requests for it. `bodies` differ from one another, so that nothing can be cached."""

    kind: str
    path: Path
    width: int
    bodies: tuple[str, ...]


def make(kind: str, folder: Path) -> Model:
    """Writes the model into `folder`; the same bytes each time."""
    from examples.medium.make import make as write

    path = folder / f"{kind}.onnx"
    write(path, kind)
    name, width = signature(path)
    return Model(kind=kind, path=path, width=width, bodies=_bodies(name, width))


def signature(path: Path) -> tuple[str, int]:
    """The input's name and its width after the batch axis."""
    import onnx

    value = onnx.load(str(path)).graph.input[0]
    return value.name, int(value.type.tensor_type.shape.dim[1].dim_value)


def _bodies(name: str, width: int, count: int = 64) -> tuple[str, ...]:
    dice = random.Random(width)
    rows = ([round(dice.uniform(-1, 1), 4) for _ in range(width)] for _ in range(count))
    return tuple(json.dumps({"input_data": {name: [row]}}) for row in rows)


def curve(path: Path, *, sizes: tuple[int, ...] = (1, 4, 16, 64), seconds: float = 0.4) -> dict[str, float]:
    """Bare `session.run` on one core: rows a second at each batch size. The ceiling of everything below."""
    import time

    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, width = session.get_inputs()[0].name, session.get_inputs()[0].shape[1]
    rates = {}
    for size in sizes:
        feeds = {name: numpy.random.default_rng(1).random((size, width), dtype=numpy.float32)}
        session.run(None, feeds)
        start, runs = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            session.run(None, feeds)
            runs += 1
        rates[str(size)] = runs * size / (time.perf_counter() - start)
    return rates
