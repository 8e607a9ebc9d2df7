"""What an instance takes of memory: read from the trial, or measured, and said with its basis."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.engines import memory, onnx_file
from inference.engines.memory import Statistics
from inference.resources import estimate
from inference.resources.estimate import CONTEXT_BYTES, WORKSPACE_BYTES
from inference.serving.model import Profile, ServiceConfig
from tests import onnx_models

MIB = 1 << 20
CSV = """#name,input_sizes,initializers_sizes,total_dynamic_sizes,total_temp_allocations
Softmax_902,0,0,2560,0
fused _162,16640,0,16384,100
a,name,with,commas_7,40,9,60,0

"""


@dataclass(frozen=True)
class Told:
    estimate: dict[str, Any]


def measured(memory_bytes: int | None) -> Profile:
    return Profile(
        model_id="m", device_kind="cuda/1", provider="cuda", max_batch=8, curve=(), measured_at=0.0,
        memory_bytes=memory_bytes, memory_basis="measured: the card's use before and after",
    )  # fmt: skip


def test_the_runtimes_statistics_are_added_up_whatever_the_nodes_are_called():
    assert memory.read_statistics(CSV, rows=2) == Statistics(rows=2, total_bytes=19104, largest_bytes=33124)


@pytest.mark.parametrize("text", ["", "#name,a,b,c,d\n", "half a line", "a,1,2,3"])
def test_a_file_without_a_node_says_nothing(text):
    assert memory.read_statistics(text, rows=1) is None


@pytest.mark.parametrize(
    ("seen", "row", "fixed"),
    [
        ([Statistics(rows=2, total_bytes=4000, largest_bytes=100)], 1000, 0),
        ([Statistics(rows=2, total_bytes=0, largest_bytes=500)], 500, 0),
        ([Statistics(rows=2, total_bytes=4000, largest_bytes=0), Statistics(rows=3, total_bytes=5000, largest_bytes=0)],
         500, 1000),
        ([Statistics(rows=3, total_bytes=400, largest_bytes=0), Statistics(rows=2, total_bytes=500, largest_bytes=0)],
         0, 250),
    ],
)  # fmt: skip
def test_activations_are_a_line_in_rows(seen, row, fixed):
    told = memory.of_trial(weight_bytes=7, seen=seen)

    assert (told["weight_bytes"], told["row_bytes"], told["fixed_bytes"]) == (7, row, fixed)


def test_an_estimate_on_a_card_counts_weights_activations_workspace_and_context():
    model = Told({"weight_bytes": 100 * MIB, "row_bytes": MIB, "fixed_bytes": 2 * MIB, "rows_seen": 3})

    need = estimate.memory_need(model, None, ServiceConfig(max_batch=16), on_card=True)

    assert need.bytes == 118 * MIB + WORKSPACE_BYTES + CONTEXT_BYTES
    assert need.basis == (
        "estimated: 100 MiB weights + 18 MiB activations at batch 16 + 128 MiB workspace + 450 MiB CUDA context"
    )


def test_on_the_cpu_weights_count_twice_and_there_is_no_context():
    model = Told({"weight_bytes": MIB})

    need = estimate.memory_need(model, None, ServiceConfig(), on_card=False)

    assert (need.bytes, need.basis) == (2 * MIB, "estimated: 2 MiB weights")


def test_what_was_measured_stands_in_for_the_estimate():
    model = Told({"weight_bytes": MIB})

    need = estimate.memory_need(model, measured(5), ServiceConfig(), on_card=True)
    unmeasured = estimate.memory_need(model, measured(None), ServiceConfig(), on_card=True)

    assert (need.bytes, need.basis) == (5, "measured: the card's use before and after")
    assert unmeasured.basis.startswith("estimated")


def test_a_model_that_nobody_knows_anything_of_says_so():
    assert estimate.memory_need(Told({}), None, ServiceConfig(), on_card=True) == estimate.UNKNOWN


def test_a_file_that_claims_to_be_endless_gives_a_number_that_can_be_kept():
    told = memory.of_trial(weight_bytes=1 << 200, seen=[])

    assert told["weight_bytes"] == memory.MAX_BYTES
    assert estimate.memory_need(Told(told), None, ServiceConfig(), on_card=True).bytes == memory.MAX_BYTES


def test_weights_are_counted_in_each_way_in_which_a_file_may_hold_them(tmp_path):
    raw = numpy_helper.from_array(np.ones((3, 5), dtype=np.float16), "raw")
    listed = helper.make_tensor("listed", TensorProto.FLOAT, [2, 7], [1.0] * 14)
    half = helper.make_tensor("half", TensorProto.INT64, [4], [1, 2, 3, 4])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(6, dtype=np.float64)))
    path = onnx_models.save(tmp_path / "m.onnx", [constant], [], [onnx_models.value("c", [6])], [raw, listed, half])

    assert onnx_file.weight_bytes(path) == 30 + 56 + 32 + 48


def test_a_file_that_is_no_model_has_no_weights_to_count(tmp_path):
    path = tmp_path / "empty.onnx"
    path.write_bytes(b"")

    with pytest.raises(onnx_file.NotProtobuf):
        onnx_file.weight_bytes(path)
