"""Makes the benchmarks' models: `tiny` (nothing to compute), `medium` (some ms a call, gains by batching) and `large`.

Writes the ONNX files itself, so that nothing beyond NumPy is needed.

    python examples/medium/make.py medium /tmp/medium.onnx
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

INPUTS, OUTPUTS = 64, 16
SEED = 1
HIDDEN, CHANNELS, SIDE = 416, 144, 16
"""`medium`: 61 MB of weights that are read once a call, then two convolutions whose cost grows with the rows."""
LARGE, CUT = (12, 768), (2, 256)
"""`large`: layers and width of a transformer, as BERT base has them (340 MB); `large-cut`: what a CPU still runs."""
HEAD = 64

_FLOAT, _INT64, _INTS = 1, 7, 7
_IR_VERSION, _OPSET = 8, 17


def make(path: Path | str, kind: str) -> Path:
    """Writes a model of one of `KINDS`: input `x` float32 [N, 64], output `y` float32 [N, 16].

    The same bytes every time. Raises KeyError for another kind.
    """
    nodes, weights = KINDS[kind](np.random.default_rng(SEED))
    graph = b"".join(_bytes(1, node) for node in nodes)
    graph += _bytes(2, kind.encode())
    graph += b"".join(_bytes(5, weight) for weight in weights)
    graph += _bytes(11, _value_info("x", INPUTS)) + _bytes(12, _value_info("y", OUTPUTS))
    model = _number(1, _IR_VERSION) + _bytes(2, b"penstock") + _bytes(7, graph)
    model += _bytes(8, _bytes(1, b"") + _number(2, _OPSET))
    target = Path(path)
    target.write_bytes(model)
    return target


def _tiny(rng: np.random.Generator) -> tuple[list[bytes], list[bytes]]:
    nodes = [_node("MatMul", ["x", "w0"], "h"), _node("Relu", ["h"], "r"), _node("MatMul", ["r", "w1"], "y")]
    return nodes, [_weight(rng, "w0", INPUTS, 16), _weight(rng, "w1", 16, OUTPUTS)]


def _medium(rng: np.random.Generator) -> tuple[list[bytes], list[bytes]]:
    """A generator's shape: a wide matrix unfolds the input to an image, convolutions work on it, a mean ends it."""
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        _node("MatMul", ["x", "w0"], "h0"),
        _node("Relu", ["h0"], "r0"),
        _node("MatMul", ["r0", "w1"], "h1"),
        _node("Reshape", ["h1", "shape"], "image"),
        _node("Conv", ["image", "k0"], "c0", same),
        _node("Relu", ["c0"], "r1"),
        _node("Conv", ["r1", "k1"], "c1", same),
        _node("GlobalAveragePool", ["c1"], "mean"),
        _node("Flatten", ["mean"], "flat"),
        _node("MatMul", ["flat", "w2"], "y"),
    ]
    weights = [
        _weight(rng, "w0", INPUTS, HIDDEN),
        _weight(rng, "w1", HIDDEN, CHANNELS * SIDE * SIDE),
        _tensor("shape", np.array([-1, CHANNELS, SIDE, SIDE], np.int64), _INT64),
        _weight(rng, "k0", CHANNELS, CHANNELS, 3, 3),
        _weight(rng, "k1", CHANNELS, CHANNELS, 3, 3),
        _weight(rng, "w2", CHANNELS, OUTPUTS),
    ]
    return nodes, weights


def _large(rng: np.random.Generator, *, layers: int, width: int) -> tuple[list[bytes], list[bytes]]:
    """A transformer that takes the row as a sequence of 64 numbers."""
    heads = width // HEAD
    nodes = [
        _node("Reshape", ["x", "as_sequence"], "sequence"),
        _node("MatMul", ["sequence", "w_in"], "wide"),
        _node("Add", ["wide", "place"], "h0"),
    ]
    weights = [
        _tensor("as_sequence", np.array([-1, INPUTS, 1], np.int64), _INT64),
        _tensor("to_heads", np.array([-1, INPUTS, heads, HEAD], np.int64), _INT64),
        _tensor("from_heads", np.array([-1, INPUTS, width], np.int64), _INT64),
        _tensor("flat", np.array([-1, width], np.int64), _INT64),
        _tensor("ones", np.ones(width, np.float32), _FLOAT),
        _tensor("shrink", np.array([HEAD**-0.5], np.float32), _FLOAT),
        _weight(rng, "w_in", 1, width),
        _weight(rng, "place", INPUTS, width),
        _weight(rng, "w_out", width, OUTPUTS),
    ]
    for n in range(layers):
        nodes += [*_attention(n), *_inside(n)]
        weights += [_weight(rng, f"w{name}{n}", width, width) for name in "qkvo"]
        weights += [_weight(rng, f"up{n}", width, 4 * width), _weight(rng, f"down{n}", 4 * width, width)]
    nodes += [
        _node("LayerNormalization", [f"h{layers}", "ones"], "last"),
        _node("ReduceMean", ["last"], "mean", {"axes": [1]}),
        _node("Reshape", ["mean", "flat"], "row"),
        _node("MatMul", ["row", "w_out"], "y"),
    ]
    return nodes, weights


def _attention(n: int) -> list[bytes]:
    nodes = [_node("LayerNormalization", [f"h{n}", "ones"], f"a{n}")]
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            _node("MatMul", [f"a{n}", f"w{name}{n}"], f"{name}{n}"),
            _node("Reshape", [f"{name}{n}", "to_heads"], f"{name}h{n}"),
            _node("Transpose", [f"{name}h{n}"], f"{name}t{n}", {"perm": order}),
        ]
    return [
        *nodes,
        _node("MatMul", [f"qt{n}", f"kt{n}"], f"s{n}"),
        _node("Mul", [f"s{n}", "shrink"], f"ss{n}"),
        _node("Softmax", [f"ss{n}"], f"p{n}"),
        _node("MatMul", [f"p{n}", f"vt{n}"], f"m{n}"),
        _node("Transpose", [f"m{n}"], f"mt{n}", {"perm": [0, 2, 1, 3]}),
        _node("Reshape", [f"mt{n}", "from_heads"], f"mr{n}"),
        _node("MatMul", [f"mr{n}", f"wo{n}"], f"o{n}"),
        _node("Add", [f"h{n}", f"o{n}"], f"g{n}"),
    ]


def _inside(n: int) -> list[bytes]:
    return [
        _node("LayerNormalization", [f"g{n}", "ones"], f"b{n}"),
        _node("MatMul", [f"b{n}", f"up{n}"], f"u{n}"),
        _node("Relu", [f"u{n}"], f"ur{n}"),
        _node("MatMul", [f"ur{n}", f"down{n}"], f"d{n}"),
        _node("Add", [f"g{n}", f"d{n}"], f"h{n + 1}"),
    ]


KINDS: Mapping[str, Callable[[np.random.Generator], tuple[list[bytes], list[bytes]]]] = {
    "tiny": _tiny,
    "medium": _medium,
    "large": partial(_large, layers=LARGE[0], width=LARGE[1]),
    "large-cut": partial(_large, layers=CUT[0], width=CUT[1]),
}


def _weight(rng: np.random.Generator, name: str, *shape: int) -> bytes:
    """Random, scaled so that values keep their size from layer to layer."""
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    return _tensor(name, (rng.standard_normal(shape, np.float32) / np.sqrt(fan_in)).astype(np.float32), _FLOAT)


# The few protobuf messages of onnx.proto3 that this takes; field numbers are theirs.


def _node(kind: str, inputs: Sequence[str], output: str, ints: Mapping[str, Sequence[int]] | None = None) -> bytes:
    attributes = b"".join(_bytes(5, _ints(name, values)) for name, values in (ints or {}).items())
    names = b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode())
    return names + _bytes(4, kind.encode()) + attributes


def _ints(name: str, values: Sequence[int]) -> bytes:
    return _bytes(1, name.encode()) + b"".join(_number(8, value) for value in values) + _number(20, _INTS)


def _tensor(name: str, array: np.ndarray, kind: int) -> bytes:
    dims = b"".join(_number(1, size) for size in array.shape)
    return dims + _number(2, kind) + _bytes(8, name.encode()) + _bytes(9, array.tobytes())


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
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    print(make(arguments.path, arguments.kind))
