"""Inputs and outputs of an ONNX session bound to memory that is kept: for CUDA, where answers have a way to go."""

import contextlib
import ctypes
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.tensors import Array, Tensors, TensorSpec

Allocate = Callable[[int], Array]
"""So many bytes, for as long as the process lives."""


class Binding:
    """One session's. An output whose size follows from the number of rows is written into a buffer of our own; another
    one is allocated by ONNX Runtime at each call.

    Not thread-safe. What it returns belongs to the caller.
    """

    def __init__(self, session: Any, outputs: Sequence[TensorSpec], allocate: Allocate) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._outputs = outputs
        self._allocate = allocate
        self._buffers: dict[str, Array] = {}
        self._follows: dict[str, bool] = {}

    def run(self, inputs: Tensors, options: Any) -> list[Array]:
        """The outputs in their order. `options`: new ones. Raises what ONNX Runtime raises."""
        binding = self._binding
        for name, array in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        rows = min((len(array) for array in inputs.values()), default=0)
        kept = [self._bind(spec, rows) for spec in self._outputs]
        options.add_run_config_entry("gpu_graph_id", "-1")  # no graph is captured; unsaid, its absence costs 30 us
        self._session.run_with_iobinding(binding, options)
        binding.synchronize_outputs()
        if all(own is not None for own in kept):
            return [own.copy() for own in kept if own is not None]
        made = binding.get_outputs()
        answers = [one.numpy() if own is None else own.copy() for one, own in zip(made, kept, strict=True)]
        for spec, answer in zip(self._outputs, answers, strict=True):
            self._learn(spec, answer, rows)
        return answers

    def _bind(self, spec: TensorSpec, rows: int) -> Array | None:
        if not (self._follows.get(spec.name) and rows):
            self._binding.bind_output(spec.name)
            return None
        own = self._buffer(spec, (rows, *(size or 0 for size in spec.shape[1:])))
        self._binding.bind_output(spec.name, "cpu", 0, own.dtype.type, own.shape, own.ctypes.data)
        return own

    def _buffer(self, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
        """Twice as large where more rows come than ever before: what was allocated is not given back."""
        dtype = np.dtype(spec.dtype)
        size = math.prod(shape) * dtype.itemsize
        kept = self._buffers.get(spec.name)
        if kept is None or kept.nbytes < size:
            kept = self._buffers[spec.name] = self._allocate(2 * size)
        return kept[:size].view(dtype).reshape(shape)

    def _learn(self, spec: TensorSpec, answer: Any, rows: int) -> None:
        """Only what was seen to have as many rows as its inputs, all other axes being fixed, can be given a buffer."""
        is_such = None not in spec.shape[1:] and np.shape(answer) == (rows, *spec.shape[1:]) and answer.size > 0
        self._follows[spec.name] = is_such and self._follows.get(spec.name, True)


def plain(size: int) -> Array:
    """Memory as any other."""
    return np.empty(size, np.uint8)


def pinned() -> Allocate:
    """Memory that the GPU writes to by itself, by the CUDA runtime which ONNX Runtime has loaded; else `plain`."""
    allocate: Any = None
    with contextlib.suppress(OSError, AttributeError, StopIteration):
        lines = Path("/proc/self/maps").read_text().splitlines()
        allocate = ctypes.CDLL(next(line.split()[-1] for line in lines if "/libcudart.so" in line)).cudaHostAlloc

    def allocated(size: int) -> Array:
        place = ctypes.c_void_p()
        if allocate is None or allocate(ctypes.byref(place), ctypes.c_size_t(size), ctypes.c_uint(0)) or not place:
            return plain(size)
        return np.ctypeslib.as_array(ctypes.cast(place, ctypes.POINTER(ctypes.c_uint8)), (size,))

    return allocated
