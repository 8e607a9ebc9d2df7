"""Inputs of many jobs at once come out as they would one by one, or are left to be looked at one by one."""

import base64
import json

import msgspec
import numpy as np
import pytest

from inference.errors import PenstockError
from inference.jobs import inputs, inputs_many
from inference.tensors import TensorSpec, pack, pack_each

X = TensorSpec(name="x", dtype="float32", shape=(None, 2))
ODD = TensorSpec(name="in:0 水", dtype="float32", shape=(4, None, 2))
COUNTS = TensorSpec(name="n", dtype="uint8", shape=(None, 3))
MARKS = TensorSpec(name="m", dtype="bool", shape=(None, 2))
LONG = TensorSpec(name="l", dtype="int64", shape=(None,))
HALF = TensorSpec(name="h", dtype="float16", shape=(None, 1))


def coded(values, dtype, **other):
    array = np.array(values, dtype=dtype)
    text = base64.b64encode(array.tobytes()).decode()
    return {"b64": text, "dtype": dtype, "shape": list(array.shape)} | other


def many(signature, texts):
    """By the first form that takes them all, as a handful of lines is read; None where no form does."""
    for form in inputs_many.forms(signature):
        decoder = msgspec.json.Decoder(form.type)
        try:
            read = [decoder.decode(text) for text in texts]
        except msgspec.DecodeError:
            continue
        return form.parse(read)
    return [None] * len(texts)


def alone(signature, text):
    try:
        return inputs.parse(text.encode(), inputs=signature)
    except PenstockError:
        return None


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ((X,), [{"x": [[1, 2.5]]}, {"x": [[0.1, -0.0]]}, {"x": [[1, 2], [3, 4]]}]),
        ((X,), [{"x": [1, 2]}, {"x": [1e-30, 9007199254740992]}]),
        ((X,), [{"x": coded([[1, 2]], "float32")}, {"x": coded([3, float("nan")], "float32")}]),
        ((ODD,), [{ODD.name: [[[1, 2]]]}, {ODD.name: [[[1, 2], [3, 4]]]}, {ODD.name: [[[1, 2]]] * 4}]),
        ((COUNTS,), [{"n": [[0, 1, 255]]}, {"n": [[0, 1, 2]]}]),
        ((MARKS,), [{"m": [[True, False]]}, {"m": [[False, False]]}]),
        ((LONG,), [{"l": [1, -2, 3]}, {"l": [2**62]}]),
        ((HALF,), [{"h": [[0.1]]}, {"h": [[65504]]}]),
        ((X, COUNTS), [{"x": [[1, 2]], "n": [[1, 2, 3]]}, {"n": [[4, 5, 6]] * 2, "x": [[3, 4]] * 2}]),
    ],
)
def test_what_is_plain_comes_out_as_if_read_alone(signature, values):
    texts = [json.dumps(value) for value in values]

    found = many(signature, texts)

    assert None not in found
    assert found == [alone(signature, text) for text in texts]


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ((X,), {"x": [[1, 2, 3]]}),
        ((X,), {"x": [[1, 2], [3]]}),
        ((X,), {"x": [[1], [2, 3]]}),
        ((X,), {"x": []}),
        ((X,), {"x": [[]]}),
        ((X,), {"x": [[1, 1e39]]}),
        ((X,), {"x": [[1, 9007199254740994]]}),
        ((X,), {"x": [[True, 1]]}),
        ((X,), {"x": [["1", 1]]}),
        ((X,), {"x": [[None, 1]]}),
        ((X,), {"x": [[1, 2]], "y": 1}),
        ((X,), {"x": coded([[1, 2]], "float64")}),
        ((X,), {"x": coded([[1, 2]], "float32", shape=[2, 2])}),
        ((X,), {"x": coded([[1, 2]], "float32", shape=[])}),
        ((X,), {"x": coded([[1, 2]], "float32", b64="AAAA?===")}),
        ((X,), {"x": coded([[1, 2]], "float32", extra=1)}),
        ((ODD,), {ODD.name: [[[1, 2]]] * 5}),
        ((COUNTS,), {"n": [[0, 1, 256]]}),
        ((COUNTS,), {"n": [[0, 1, 1.0]]}),
        ((COUNTS,), {"n": [[0, 1, True]]}),
        ((LONG,), {"l": [2**64]}),
        ((HALF,), {"h": [[70000]]}),
        ((X, COUNTS), {"x": [[1, 2]], "n": [[1, 2, 3]] * 2}),
    ],
)
def test_what_is_not_plain_is_left_to_be_read_alone(signature, value):
    text = json.dumps(value)

    found = many(signature, [text])

    assert found == [None]


def test_a_ragged_one_leaves_those_of_its_shape_to_be_read_alone():
    good, bad, other = '{"x": [[1, 2], [3, 4]]}', '{"x": [[1, 2], [3]]}', '{"x": [[1, 2]]}'

    found = many((X,), [good, bad, other])

    assert found == [None, None, alone((X,), other)]


def test_packing_each_is_packing_one_by_one():
    stacked = {"x": np.arange(12, dtype=np.float32).reshape(3, 2, 2), "n": np.zeros((3, 300, 300), np.uint8)}

    packed = pack_each(stacked)

    assert packed == [pack({name: array[i] for name, array in stacked.items()}) for i in range(3)]
