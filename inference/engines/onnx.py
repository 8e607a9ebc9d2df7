"""ONNX Runtime, on the CPU and on CUDA, through one adapter."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from inference.engines import onnx_file, onnx_runtime, onnx_shared
from inference.engines.base import LoadSpec
from inference.engines.memory import Statistics, read_statistics
from inference.engines.onnx_binding import Binding, pinned
from inference.engines.onnx_file import NotProtobuf, external_files
from inference.errors import EngineFailed, EngineLoadFailed, OutOfMemory, PenstockError, RunStopped
from inference.tensors import Array, Tensors, TensorSpec

OPTIONS = ("gpu_memory_bytes", "io_binding", "optimisation", "share_weights")
OPTIMISATIONS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}

PROOFS = 2
"""So many calls are made in both ways: a binding is kept if its answers are those of a plain call."""

_NO_SPEC = LoadSpec(path=Path())
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_NO_MEMORY = re.compile(r"bad_alloc|out of memory|failed to allocate|CUDA failure 2\b|CUBLAS_STATUS_ALLOC_FAILED", re.I)

_NOISE = [
    (re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "), ""),
    (re.compile(r"Load model from \S+ failed:\s*"), ""),
    (re.compile(r"/\S*/[0-9a-f]{64}"), "the model"),
    (
        re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'[^']*' Status Message:"),
        r"in a \1 node:",
    ),
    (
        re.compile(
            r"\S+\.(?:cc|cpp|cu|cuh|h):\d+ (?:[\w:<>&*]+ ){0,3}[\w:~<>]+\((?:[^()]|\([^()]*\))*\) ?(?:\[\w+\] ?)?"
        ),
        "",
    ),
    (re.compile(r" Please fix either the inputs/outputs or the model\."), ""),
]


class OnnxEngine:
    """One session. Not to be made before a fork."""

    runs_code: ClassVar[bool] = False

    def __init__(self, session: Any, provider: str, new_options: Callable[[], Any], spec: LoadSpec = _NO_SPEC) -> None:
        self._session = session
        self._path, self._statistics = spec.path, spec.statistics
        self._new_options = new_options
        self._lock = threading.Lock()
        self._under_way: Any = None
        self.provider = provider
        self.inputs = tuple(_spec(node, "input") for node in session.get_inputs())
        self.outputs = tuple(_spec(node, "output") for node in session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self._unproven = PROOFS
        self._binding: Binding | None = None
        if provider == "cuda" and spec.options.get("io_binding", True):
            self._binding = Binding(session, self.outputs, pinned())

    @classmethod
    def load(cls, spec: LoadSpec) -> "OnnxEngine":
        """Opens a session on what was asked for and nothing less. Raises EngineLoadFailed, OutOfMemory."""
        _refuse_external_files(spec)
        try:
            onnxruntime = onnx_runtime.loaded()
        except ImportError as error:
            raise EngineLoadFailed(
                "ONNX Runtime is not installed here; install the extra 'cpu' or 'gpu' of penstock."
            ) from error
        session = _open(onnxruntime, spec)
        session.disable_fallback()  # else a GPU that fails during a call is replaced by the CPU, in silence
        provider = "cuda" if session.get_providers()[0] == _CUDA else "cpu"
        if spec.provider == "cuda" and provider != "cuda":
            raise EngineLoadFailed(
                "CUDA was asked for and ONNX Runtime fell back to the CPU: its CUDA or cuDNN libraries cannot be "
                "loaded, or it sees no usable GPU.",
                asked="cuda",
                got=provider,
                device=spec.device,
            )
        return cls(session, provider, onnxruntime.RunOptions, spec)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """One call. Raises EngineFailed for what would fail again, OutOfMemory for what may not, RunStopped."""
        options = self._under_way = self._new_options()
        try:
            results = self._call(inputs, options)
        except Exception as error:
            if options.terminate:
                raise RunStopped("The engine call was ended from outside.") from error
            raise _as_ours(error, EngineFailed, "The engine refused this input") from error
        finally:
            with self._lock:
                self._under_way = None
        return dict(zip(self._names, results, strict=True))

    def _call(self, inputs: Tensors, options: Any) -> list[Array]:
        """Bound, where that was seen to answer the same; who is at fault when it fails, a plain call tells."""
        if self._binding is not None:
            try:
                answers = self._binding.run(inputs, options)
            except Exception:
                if options.terminate:
                    raise
                answers = []
            if answers and not self._unproven:
                return answers
        plain: list[Array] = self._session.run(self._names, dict(inputs), options)
        if self._binding is not None:
            self._unproven -= 1
            if not _are_same(answers, plain):
                self._binding = None
        return plain

    def stop(self) -> None:
        """Between two nodes of the graph the call looks at this flag; a Loop without end looks at each turn."""
        with self._lock:
            if self._under_way is not None:
                self._under_way.terminate = True

    def weight_bytes(self) -> int:
        """As the file has them."""
        return onnx_file.weight_bytes(self._path)

    def statistics(self, *, rows: int) -> Statistics | None:
        """ONNX Runtime writes them after each call, and keeps what was largest for each node."""
        try:
            text = self._statistics.read_text(errors="replace") if self._statistics else ""
        except OSError:
            return None
        return read_statistics(text, rows=rows)

    def close(self) -> None:
        self._session = None


def _are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """By value, as closely as two runs on a GPU agree."""
    if len(some) != len(others):
        return False
    for one, other in zip(some, others, strict=True):
        is_number = isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype == other.dtype
        if not (is_number and one.shape == other.shape and np.allclose(one, other, rtol=1e-3, equal_nan=True)):
            return False
    return True


def _open(onnxruntime: Any, spec: LoadSpec) -> Any:
    """A session on the providers that the wish allows, best first."""
    offered = onnxruntime.get_available_providers()
    _refuse_impossible(spec, offered)
    providers: list[Any] = [_CPU]
    if _CUDA in offered and (spec.provider == "cuda" or (spec.provider == "auto" and spec.device != "cpu")):
        onnxruntime.preload_dlls()
        providers.insert(0, (_CUDA, _cuda_options(spec.options)))

    def opened(path: Path, options: Any) -> Any:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)

    options = _session_options(onnxruntime, spec)
    try:
        if spec.options.get("share_weights") and spec.derived is not None and len(providers) == 1:
            return _open_shared(onnxruntime, spec, options, opened)
        return opened(spec.path, options)
    except PenstockError:
        raise
    except Exception as error:
        raise _as_ours(error, EngineLoadFailed, "The model cannot be loaded") from error


def _open_shared(onnxruntime: Any, spec: LoadSpec, options: Any, opened: Callable[[Path, Any], Any]) -> Any:
    """A session whose weights are pages of a file, the same for all engines of this host."""
    level = OPTIMISATIONS[spec.options.get("optimisation", "all")]
    if level == OPTIMISATIONS["all"]:
        level = OPTIMISATIONS["extended"]  # what is beyond is for one kind of CPU
    graph = onnx_shared.graph_of(spec.path, spec.derived or Path(), level=level, version=onnxruntime.__version__)
    # It has been optimised; doing so again, or packing, would copy weights.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    return opened(graph, options)


def _refuse_external_files(spec: LoadSpec) -> None:
    """A stored artefact stands alone: a file that it names could be anybody's."""
    try:
        files = external_files(spec.path)
    except NotProtobuf as error:
        raise EngineLoadFailed("The file is not an ONNX model: it is not a protobuf message.") from error
    except OSError as error:
        raise EngineLoadFailed(f"The model's file cannot be read: {error.strerror}.") from error
    if files:
        raise EngineLoadFailed(
            f"The model keeps weights in another file ('{files[0][:80]}'), which is not accepted; "
            "save it as one file (onnx.save with save_as_external_data=False).",
            files=[name[:80] for name in files[:8]],
        )


def _refuse_impossible(spec: LoadSpec, offered: list[str]) -> None:
    if spec.provider not in ("auto", "cpu", "cuda"):
        raise EngineLoadFailed(f"Provider '{spec.provider}' is unknown to onnx; known: auto, cpu, cuda.")
    if unknown := sorted(set(spec.options) - set(OPTIONS)):
        raise EngineLoadFailed(f"Engine option '{unknown[0]}' is unknown to onnx; known: {', '.join(OPTIONS)}.")
    level = spec.options.get("optimisation", "all")
    if not isinstance(level, str) or level not in OPTIMISATIONS:
        raise EngineLoadFailed(f"Engine option 'optimisation' must be one of {', '.join(OPTIMISATIONS)}.")
    for name in ("io_binding", "share_weights"):
        if not isinstance(spec.options.get(name, False), bool):
            raise EngineLoadFailed(f"Engine option '{name}' must be true or false.")
    limit = spec.options.get("gpu_memory_bytes", 1)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise EngineLoadFailed("Engine option 'gpu_memory_bytes' must be a whole number above 0.")
    if spec.provider == "cuda" and _CUDA not in offered:
        raise EngineLoadFailed(
            "CUDA was asked for and this ONNX Runtime has no CUDA in it; install the extra 'gpu' instead of 'cpu'.",
            asked="cuda",
            offered=offered,
        )


def _cuda_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The process sees only the GPU it is pinned to, so the device is always number 0."""
    chosen: dict[str, Any] = {"device_id": 0, "arena_extend_strategy": "kSameAsRequested"}
    if "gpu_memory_bytes" in options:
        chosen["gpu_mem_limit"] = options["gpu_memory_bytes"]
    return chosen


def _session_options(onnxruntime: Any, spec: LoadSpec) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(spec.threads, 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; the rest is noise
    level = OPTIMISATIONS[spec.options.get("optimisation", "all")]
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if spec.statistics is not None:
        options.enable_mem_pattern = False  # else nodes share blocks, and none says its own
        options.add_session_config_entry("session.collect_node_memory_stats_to_file", str(spec.statistics))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _spec(node: Any, what: str) -> TensorSpec:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        advice = " Export it without ZipMap." if "map" in node.type else ""
        raise EngineLoadFailed(
            f"The model's {what} '{node.name}' is of type {node.type}, which is not carried.{advice}"
        )
    if not node.shape:
        raise EngineLoadFailed(f"The model's {what} '{node.name}' has no axes; the first axis must be the batch.")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
    return TensorSpec(name=node.name, dtype=dtype, shape=shape)


def _as_ours(error: Exception, kind: type[PenstockError], what: str) -> PenstockError:
    text = str(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return OutOfMemory(f"{what}: there is not enough memory for it.")
    return kind(f"{what}: {_plain(text)}")


def _plain(text: str) -> str:
    """ONNX Runtime's first sentence, without its codes, source positions and our file names."""
    for pattern, instead in _NOISE:
        text = pattern.sub(instead, text)
    return " ".join(text.split())[:400].rstrip(". ") + "."
