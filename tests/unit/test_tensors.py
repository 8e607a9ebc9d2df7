"""The JSON of outputs: valid whatever they hold, and the same numbers under every policy; payloads joined."""

import math

import msgspec
import numpy as np
import orjson
import pytest

from inference.errors import OutputInvalid
from inference.tensors import Array, NanPolicy, pack, to_json, unpack_joined

HARD = [0.1, -0.0, 1e-30, 3.4e38, 16777217.0, 1 / 3]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(8,), (2, 4), (2, 2, 2)])
def test_numbers_are_written_alike_beside_texts(dtype, shape):
    with np.errstate(over="ignore"):
        array = np.array([*HARD, np.nan, np.inf]).astype(dtype).reshape(shape)
    is_number = np.isfinite(array)

    plain = np.array(orjson.loads(to_json({"y": array}))["y"], dtype=object)
    told = np.array(orjson.loads(to_json({"y": array}, NanPolicy.PASS))["y"], dtype=object)

    assert plain.shape == told.shape == shape
    assert (plain[is_number] == told[is_number]).all()
    assert set(plain[~is_number]) == {None}
    assert list(told[~is_number]) == [
        "NaN" if math.isnan(value) else "Infinity" for value in array[~is_number].astype(float)
    ]


@pytest.mark.parametrize("policy", NanPolicy)
def test_what_is_all_numbers_is_the_same_under_every_policy(policy):
    outputs = {
        "float": np.array(HARD, dtype=np.float32),
        "whole": np.arange(3),
        "flags": np.array([True, False]),
        "texts": np.array(["null", "NaN"]),
        "a": np.array(1.5),
        "none": np.zeros((0, 2), dtype=np.float32),
    }

    assert to_json(outputs, policy) == to_json(outputs)


def test_names_that_look_like_values_are_left_alone():
    outputs = {"null": np.array([np.nan, -np.inf]), "x null y": np.array([[np.nan]])}

    assert orjson.loads(to_json(outputs, NanPolicy.PASS)) == {"null": ["NaN", "-Infinity"], "x null y": [["NaN"]]}


def test_a_failure_names_the_output():
    with pytest.raises(OutputInvalid) as failure:
        to_json({"good": np.array([1.0]), "bad": np.array([np.nan])}, NanPolicy.FAIL)

    assert failure.value.details == {"tensor": "bad"}


def test_payloads_are_joined_as_their_tensors_would_be():
    parts = [{"x": np.full((rows, 2), rows, np.float32), "n": np.arange(rows)} for rows in (1, 3, 2)]

    joined = unpack_joined([pack(part) for part in parts])

    assert joined["x"].tolist() == np.concatenate([part["x"] for part in parts]).tolist()
    assert joined["n"].tolist() == [0, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    "stranger",
    [
        {"x": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 2), np.float64)},
        {"y": np.zeros((1, 2), np.float32)},
    ],
)
def test_payloads_that_do_not_fit_together_are_not_joined(stranger: dict[str, Array]):
    usual = pack({"x": np.zeros((1, 2), np.float32)})

    with pytest.raises((ValueError, KeyError)):
        unpack_joined([usual, pack(stranger)])


def test_a_row_too_short_is_not_filled_from_the_next_payload():
    def payload(size: int) -> bytes:
        return msgspec.msgpack.encode({"x": ("float32", (1, 2), bytes(4 * size))})

    with pytest.raises(ValueError, match="differ"):
        unpack_joined([payload(1), payload(3)])
