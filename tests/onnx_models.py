"""Small ONNX models for tests, good ones and bad ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Dims = Sequence[int | str | None]


def value(name: str, dims: Dims, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(dims))


def save(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights)
    path.write_bytes(_model(graph).SerializeToString())
    return path


def _model(graph) -> ModelProto:  # type: ignore[no-untyped-def]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def linear(path: Path, *, rows: int | str | None = "N", width: int = 4, factor: float = 2.0) -> Path:
    """y = x * factor, float32 [rows, width]."""
    weights = [numpy_helper.from_array(np.eye(width, dtype=np.float32) * np.float32(factor), "w")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return save(path, nodes, [value("x", [rows, width])], [value("y", [rows, width])], weights)


def one_node(path: Path, kind: str, dims: Dims, output_dims: Dims, **attributes: object) -> Path:
    """y = kind(x)."""
    nodes = [helper.make_node(kind, ["x"], ["y"], **attributes)]
    return save(path, nodes, [value("x", dims)], [value("y", output_dims)])


def loop(path: Path, trips: int | None) -> Path:
    """y = x after `trips` rounds of adding 0 to it. 2**62 rounds never end. None: as many as the largest input says."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["v", "zero"], ["v_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            value("v", ["N", 4]),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), value("v_out", ["N", 4])],
    )
    weights = [
        *([] if trips is None else [numpy_helper.from_array(np.array(trips, np.int64), "trips")]),
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
    ]
    nodes = [helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)]
    if trips is None:
        nodes = [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["trips"], to=TensorProto.INT64),
            *nodes,
        ]
    return save(path, nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)


def huge(path: Path) -> Path:
    """A few bytes that ask for 32 GiB: a constant shape, filled at run time so that nothing folds it."""
    weights = [numpy_helper.from_array(np.array([1 << 33], np.int64), "size")]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["one"], keepdims=0),
        helper.make_node("Expand", ["one", "size"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    return save(path, nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)


def with_external_data(path: Path, location: str) -> Path:
    """A model whose weight lies in another file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return save(path, nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], [weight])
