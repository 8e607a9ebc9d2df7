"""Bound inputs and outputs, on the CPU's own binding: the same answers, and a plain call whenever they are not."""

from typing import Any

import numpy as np
import pytest

from inference.engines.base import LoadSpec
from inference.engines.onnx import PROOFS, OnnxEngine
from inference.engines.onnx_binding import Binding, pinned, plain
from inference.errors import EngineFailed
from tests import onnx_models


@pytest.fixture
def engine(tmp_path) -> Any:
    return OnnxEngine.load(LoadSpec(path=onnx_models.linear(tmp_path / "model")))


def bound(engine: Any, allocate=plain) -> Any:  # type: ignore[no-untyped-def]
    """The same engine, as it is on CUDA."""
    engine._binding = Binding(engine._session, engine.outputs, allocate)
    return engine


def rows(count: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(count).random((count, 4), np.float32)}


def test_bound_calls_answer_as_plain_ones_whatever_the_number_of_rows(engine):
    sizes = [1, 1, 1, 8, 3, 64, 2]
    wanted = [engine.run(rows(size))["y"] for size in sizes]

    found = [bound(engine).run(rows(size))["y"] for size in sizes]
    kept = bound(engine)
    again = [kept.run(rows(size))["y"] for size in sizes]

    assert all(np.array_equal(one, other) for one, other in zip(wanted, found, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(wanted, again, strict=True))
    assert kept._binding is not None


def test_after_the_proof_answers_come_through_one_buffer_and_belong_to_the_caller(engine):
    asked: list[int] = []
    engine = bound(engine, lambda size: asked.append(size) or plain(size))
    for _ in range(PROOFS):
        engine.run(rows(4))
    engine._session = None  # nobody else can answer now

    first, second = engine.run(rows(4))["y"], engine.run({"x": np.zeros((4, 4), np.float32)})["y"]

    assert np.allclose(first, rows(4)["x"] * 2)
    assert not second.any()
    assert len(asked) == 1


def test_inputs_that_are_read_only_or_not_contiguous_are_taken(engine):
    engine, x = bound(engine), np.arange(32, dtype=np.float32).reshape(4, 8)[:, ::2]
    sealed = np.frombuffer(x.tobytes(), np.float32).reshape(4, 4)

    answers = [engine.run({"x": each})["y"] for each in (x, sealed, x, sealed)]

    assert all(np.allclose(answer, x * 2) for answer in answers)


def test_an_output_of_another_size_than_its_inputs_is_never_given_a_buffer(tmp_path):
    path = onnx_models.one_node(tmp_path / "model", "Transpose", ["N", 4], [4, "N"], perm=[1, 0])
    engine = bound(OnnxEngine.load(LoadSpec(path=path)))

    answers = [engine.run(rows(size))["y"] for size in (1, 2, 3, 4, 2)]

    assert [answer.shape for answer in answers] == [(4, 1), (4, 2), (4, 3), (4, 4), (4, 2)]
    assert engine._binding._buffers == {}


def test_a_batch_that_fails_is_told_as_by_a_plain_call_and_changes_nothing(engine):
    engine = bound(engine)

    with pytest.raises(EngineFailed):
        engine.run({"x": np.ones((2, 5), np.float32)})

    assert np.allclose(engine.run(rows(2))["y"], rows(2)["x"] * 2)
    assert engine._binding is not None


class Wrong:
    """A binding whose answers are not the model's."""

    def run(self, inputs: Any, options: Any) -> list[Any]:
        return [np.zeros((len(inputs["x"]), 4), np.float32)]


def test_a_binding_that_answers_otherwise_is_given_up_before_anybody_sees_it(engine):
    engine._binding = Wrong()

    answer = engine.run(rows(3))["y"]

    assert np.allclose(answer, rows(3)["x"] * 2)
    assert engine._binding is None


def test_without_cuda_memory_is_as_any_other():
    assert pinned()(64).nbytes == 64
