"""Joining and splitting rows."""

import numpy as np
import pytest

from inference.engines.batcher import AnyRows, any_rows, fixed_rows, join, pad, rows_of, split
from inference.errors import EngineLoadFailed, InvalidTensor, OutputInvalid
from inference.tensors import TensorSpec


def rows(*numbers):
    return {"x": np.array([[number] for number in numbers], np.float32)}


class FixedDouble:
    """Doubles, and insists on three rows."""

    provider = "cpu"
    inputs = outputs = (TensorSpec(name="x", dtype="float32", shape=(3, 1)),)

    def __init__(self):
        self.calls = []

    def run(self, inputs):
        assert inputs["x"].shape == (3, 1)
        self.calls.append(inputs["x"][:, 0].tolist())
        return {"x": inputs["x"] * 2}

    def close(self):
        self.calls.append("closed")


def test_what_was_joined_comes_apart_again_in_order():
    parts = [rows(1), rows(2, 3), rows(4)]

    back = split(join(parts), [1, 2, 1])

    assert [part["x"][:, 0].tolist() for part in back] == [[1], [2, 3], [4]]


def test_splitting_copies_nothing():
    whole = rows(1, 2, 3)

    parts = split(whole, [1, 2])

    assert all(np.shares_memory(part["x"], whole["x"]) for part in parts)


def test_a_single_part_is_neither_copied_nor_cut():
    scalar = {"y": np.float32(3).reshape(())}

    assert join([rows(1, 2)])["x"].base is None
    assert split(scalar, [5]) == [scalar]


@pytest.mark.parametrize("shape", [(), (2,), (4, 1)])
def test_an_output_without_a_row_for_each_input_row_cannot_be_split(shape):
    with pytest.raises(OutputInvalid, match="'y'"):
        split({"y": np.zeros(shape, np.float32)}, [1, 2])


def test_tensors_of_one_job_must_have_equally_many_rows():
    assert rows_of({"a": np.zeros((2, 3)), "b": np.zeros(2)}) == 2
    with pytest.raises(InvalidTensor):
        rows_of({"a": np.zeros((2, 3)), "b": np.zeros((3, 3))})
    with pytest.raises(InvalidTensor):
        rows_of({"a": np.zeros(())})


def test_padding_repeats_the_last_row():
    assert pad(rows(1, 2), 4)["x"][:, 0].tolist() == [1, 2, 2, 2]
    assert pad(rows(1, 2), 2)["x"][:, 0].tolist() == [1, 2]


def test_only_a_fixed_batch_axis_is_fixed():
    free = TensorSpec(name="a", dtype="int8", shape=(None, 3))
    three = TensorSpec(name="b", dtype="int8", shape=(3, 5))

    assert fixed_rows([free]) is None
    assert fixed_rows([three]) == 3
    assert fixed_rows([free, three]) == 3
    with pytest.raises(EngineLoadFailed, match="different batch lengths \\(3, 4\\)"):
        fixed_rows([three, TensorSpec(name="c", dtype="int8", shape=(4,))])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_fixed_model_takes_any_number_of_rows(count):
    model = FixedDouble()
    engine = any_rows(model)

    out = engine.run(rows(*range(count)))

    assert isinstance(engine, AnyRows)
    assert out["x"][:, 0].tolist() == [2 * number for number in range(count)]
    assert len(model.calls) == -(-count // 3)


def test_an_engine_without_a_fixed_axis_is_left_alone():
    model = FixedDouble()
    model.inputs = (TensorSpec(name="x", dtype="float32", shape=(None, 1)),)

    assert any_rows(model) is model
