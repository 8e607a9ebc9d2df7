"""Weights that engines on one host share: kept in a file beside the graph, mapped by each, copied by none.

ONNX Runtime then computes on the weights as they lie in the file, which is 1.3 to 2.5 times slower on a CPU than on
its own packed copy: for models that are seldom asked. `python -m inference.engines.onnx_shared MODEL FOLDER LEVEL`
makes such a pair of files.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from inference.engines import onnx_runtime
from inference.errors import EngineLoadFailed
from inference.lifeline import die_with_parent

GRAPH, WEIGHTS = "graph.onnx", "weights"
SMALLEST_BYTES = 4096
"""Smaller weights stay in the graph."""


def graph_of(model: Path, folder: Path, *, level: str, version: str) -> Path:
    """The graph beside its weights, made at the first call. Safe in any number of processes; never changed afterwards.

    `folder` is this model's own, `level` an optimisation level of the runtime, `version` the runtime's. Raises
    EngineLoadFailed, OSError.
    """
    place = folder / f"onnx-{version}-{level}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            draft = folder / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            _make_elsewhere(model, draft, level)
            draft.rename(place)
    return place / GRAPH


def _make_elsewhere(model: Path, draft: Path, level: str) -> None:
    """In a process of its own: what this takes, twice the model, would stay with an engine for good."""
    argv = [sys.executable, "-m", "inference.engines.onnx_shared", str(model), str(draft), level]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2][:300]
        raise EngineLoadFailed(f"The model's weights could not be laid out to be shared: {reason}")


def make(model: Path, draft: Path, level: str) -> None:
    """Writes graph and weights into the folder `draft`."""
    onnxruntime = onnx_runtime.loaded()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(draft / GRAPH)
    name = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{name}_file_name", WEIGHTS)
    options.add_session_config_entry(f"{name}_min_size_in_bytes", str(SMALLEST_BYTES))
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    for path in draft.iterdir():
        path.chmod(0o444)  # a mapped file that changed would change answers
        with path.open("rb") as file:
            os.fsync(file.fileno())


def forget_others(folder: Path, is_there: Callable[[str], bool]) -> None:
    """Removes what was kept for models that are gone. What is mapped stays so until its engine ends."""
    if folder.is_dir():
        for kept in folder.iterdir():
            if not is_there(kept.name):
                shutil.rmtree(kept, ignore_errors=True)


if __name__ == "__main__":
    die_with_parent()
    make(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
