"""Makes the models of the benchmark: `tiny` (nothing to compute) and `medium` (a few ms a call, gains by batching).

Writes the ONNX files itself, so that nothing beyond NumPy is needed.

    python examples/medium/make.py medium /tmp/medium.onnx
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

INPUTS = 64
LAYERS = {"tiny": (16,), "medium": (2048,) * 6}
"""Sizes of the layers between the 64 inputs and the 16 outputs. `medium`: 85 MB of weights, read once a call."""
OUTPUTS = 16
SEED = 1

_FLOAT = 1
_IR_VERSION, _OPSET = 8, 17


def make(path: Path | str, kind: str) -> Path:
    """Writes a model of the kind `tiny` or `medium`: input `x` float32 [N, 64], output `y` float32 [N, 16].

    The same bytes every time. Raises KeyError for another kind.
    """
    rng = np.random.default_rng(SEED)
    nodes, weights = [], []
    sizes = (INPUTS, *LAYERS[kind], OUTPUTS)
    value = "x"
    for number, (rows, columns) in enumerate(pairwise(sizes)):
        is_last = number == len(sizes) - 2
        matrix = (rng.standard_normal((rows, columns), np.float32) / np.sqrt(rows)).astype(np.float32)
        weights += [_tensor(f"w{number}", matrix), _tensor(f"b{number}", np.zeros(columns, np.float32))]
        gemm = "y" if is_last else f"h{number}"
        nodes.append(_node("Gemm", [value, f"w{number}", f"b{number}"], gemm))
        if not is_last:
            nodes.append(_node("Relu", [gemm], f"r{number}"))
            value = f"r{number}"
    graph = b"".join(_bytes(1, node) for node in nodes)
    graph += _bytes(2, kind.encode())
    graph += b"".join(_bytes(5, weight) for weight in weights)
    graph += _bytes(11, _value_info("x", INPUTS)) + _bytes(12, _value_info("y", OUTPUTS))
    model = _number(1, _IR_VERSION) + _bytes(2, b"penstock") + _bytes(7, graph)
    model += _bytes(8, _bytes(1, b"") + _number(2, _OPSET))
    target = Path(path)
    target.write_bytes(model)
    return target


# The few protobuf messages of onnx.proto3 that this takes; field numbers are theirs.


def _node(kind: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode()) + _bytes(4, kind.encode())


def _tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(_number(1, size) for size in array.shape)
    return dims + _number(2, _FLOAT) + _bytes(8, name.encode()) + _bytes(9, array.tobytes())


def _value_info(name: str, columns: int) -> bytes:
    shape = _bytes(1, _bytes(2, b"N")) + _bytes(1, _number(1, columns))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, shape)))


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=sorted(LAYERS))
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    print(make(arguments.path, arguments.kind))
