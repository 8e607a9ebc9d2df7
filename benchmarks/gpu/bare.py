"""`python -m benchmarks.gpu.bare MODEL PROVIDER SECONDS ROWS...`: a bare `session.run` loop in a process of its own.

Nothing of Penstock runs here but the choice of what a session is opened with and, after the loop, its engine's bound
inputs and outputs. One JSON object on stdout.
"""

import importlib.metadata
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples.medium.make import INPUTS

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
LIBRARIES = ("libcublas.so", "libcublasLt.so", "libcudart.so", "libcudnn.so", "libcufft.so")
SHARE = 2e-2
"""How far the GPU's answer may be from the CPU's: TensorFloat-32 keeps ten bits."""


def measure(path: Path, *, provider: str, seconds: float, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Rows a second and the median call at each batch size, `seconds` each, and what the session really ran on."""
    import onnxruntime

    chosen = providers(provider, onnxruntime.get_available_providers())
    if len(chosen) > 1:
        onnxruntime.preload_dlls()
    begun = time.perf_counter()
    session = _session(onnxruntime, path, chosen)
    loaded_s = time.perf_counter() - begun
    got = "cuda" if session.get_providers()[0] == CUDA else "cpu"
    first_s = _time(session, 1)
    curve = []
    for rows in sizes:
        point = _rate(session, rows, seconds)
        if point is None:
            break
        curve.append(point)
    largest = curve[-1]["rows"] if curve else 0
    return {
        "asked": provider,
        "got": got,
        "offered": onnxruntime.get_available_providers(),
        "versions": {name: _version(name) for name in ("onnxruntime-gpu", "onnxruntime", "torch") if _version(name)},
        "libraries": _libraries() if got == "cuda" else {},
        "load_s": loaded_s,
        "first_call_s": first_s,
        "off_by_share": _off_by(onnxruntime, session, path) if got == "cuda" else None,
        "curve": curve,
        "bound": _rate(_bound(onnxruntime, session), largest, seconds) if largest else None,
    }


def providers(asked: str, offered: Sequence[str]) -> list[Any]:
    """What a session is opened with: CUDA where it is asked for, or `auto` finds it offered, and the CPU behind it."""
    if CUDA not in offered or asked == "cpu":
        return [CPU]
    return [(CUDA, {"device_id": 0, "arena_extend_strategy": "kSameAsRequested"}), CPU]


def _session(onnxruntime: Any, path: Path, chosen: list[Any]) -> Any:
    """Opened as `inference.engines.onnx` does it, so that the loop is the ceiling of one engine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=chosen)


class _Bound:
    """`session.run`, by way of the engine's binding; what it gives is checked against the session's own first."""

    def __init__(self, binding: Any, options: Any, session: Any) -> None:
        self._binding, self._options, self._session = binding, options, session

    def run(self, _names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        answers: list[np.ndarray] = self._binding.run(feeds, self._options())
        if self._session is not None:
            for one, other in zip(answers, self._session.run(None, feeds), strict=True):
                if not np.allclose(one, other, rtol=SHARE):
                    raise ValueError("bound outputs are not those of session.run")
            self._session = None
        return answers


def _bound(onnxruntime: Any, session: Any) -> _Bound:
    from inference.engines.onnx import OnnxEngine
    from inference.engines.onnx_binding import Binding, pinned

    outputs = OnnxEngine(session, "cpu", onnxruntime.RunOptions).outputs
    return _Bound(Binding(session, outputs, pinned()), onnxruntime.RunOptions, session)


def _feeds(rows: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).uniform(-1, 1, (rows, INPUTS)).astype(np.float32)}


def _time(session: Any, rows: int) -> float:
    feeds = _feeds(rows)
    begun = time.perf_counter()
    session.run(None, feeds)
    return time.perf_counter() - begun


def _rate(session: Any, rows: int, seconds: float) -> dict[str, float] | None:
    """None where a batch of this size does not fit into memory."""
    feeds, took = _feeds(rows), []
    try:
        session.run(None, feeds)
        begun = time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds:
            session.run(None, feeds)
            took.append(time.perf_counter() - now)
    except Exception as error:  # ONNX Runtime has one class for all, and its text is what is to be seen
        print(f"{rows} rows: {error}", file=sys.stderr)
        return None
    return {
        "rows": rows,
        "rows_per_s": rows * len(took) / (time.perf_counter() - begun),
        "median_ms": sorted(took)[len(took) // 2] * 1000,
    }


def _off_by(onnxruntime: Any, session: Any, path: Path) -> float:
    """The largest difference to the CPU's answer, as a share of the largest value."""
    feeds = _feeds(4)
    (got,) = session.run(None, feeds)
    (wanted,) = _session(onnxruntime, path, [CPU]).run(None, feeds)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def _libraries() -> dict[str, str]:
    """Where each of CUDA's libraries in this process came from: PyTorch's packages, the system, LD_LIBRARY_PATH."""
    found = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.rpartition(" ")[2]
        for name in LIBRARIES:
            if f"/{name}" in path:
                found[name] = path
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    model, kind, span, *rows = sys.argv[1:]
    print(json.dumps(measure(Path(model), provider=kind, seconds=float(span), sizes=tuple(map(int, rows)))))
