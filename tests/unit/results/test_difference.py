"""How far two answers are from each other."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inference.results.difference import differences, read
from inference.tensors import NanPolicy, to_json

TWO_ROWS = arrays.array_shapes(min_dims=2, max_dims=3, max_side=4)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def one(reference, other, **options):
    (found,) = differences(
        read(json.dumps({"y": reference}).encode()), read(json.dumps({"y": other}).encode()), **options
    )
    return found


def test_numbers_are_compared_element_by_element():
    found = one([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [4.0, 3.0]])

    assert (found.max_abs, found.mean_abs) == (1.0, 0.625)
    assert (found.top1_agreement, found.equal_share) == (0.5, 0.25)
    assert found.cosine == pytest.approx(30 / math.sqrt(30 * 32.25))
    assert (found.kind, found.shape, found.agrees) == ("float", (2, 2), False)


@pytest.mark.parametrize(("tolerance", "agrees"), [(0.5, True), (0.49, False)])
def test_a_difference_up_to_the_tolerance_agrees(tolerance, agrees):
    assert one([1.0, 2.0], [1.0, 2.5], tolerance=tolerance).agrees is agrees


@pytest.mark.parametrize(
    ("reference", "other", "note"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]], "Its shape is [1, 3], that of the reference [1, 2]."),
        ([[1.0]], [["a"]], "It is text, the reference float."),
        ([[1.0]], [[1]], "It is integer, the reference float."),
        ([[True]], [[1]], "It is integer, the reference bool."),
    ],
)
def test_what_does_not_fit_together_is_said_clearly_and_does_not_agree(reference, other, note):
    found = one(reference, other)

    assert (found.note, found.agrees) == (note, False)


def test_an_output_on_one_side_only_is_said_to_be():
    found = differences(read(b'{"a":[1.0],"b":[1.0]}'), read(b'{"b":[1.0],"c":[1.0]}'))

    assert [(one.name, one.agrees) for one in found] == [("a", False), ("b", True), ("c", False)]
    assert found[0].note == "Only the reference has this output."
    assert found[2].note == "The reference does not have this output."


def test_what_is_no_number_agrees_with_its_like_only():
    assert one([1.0, None], [1.0, None]).agrees
    assert one([1.0, "Infinity"], [1.0, "Infinity"]).agrees
    assert not one([1.0, None], [1.0, 2.0]).agrees
    assert not one([1.0, "Infinity"], [1.0, "-Infinity"]).agrees
    assert one([1.0, None], [1.5, None]).max_abs == 0.5


def test_texts_and_rows_of_different_lengths_are_the_same_or_not():
    assert (one(["a", "b"], ["a", "c"]).equal_share, one(["a", "b"], ["a", "b"]).agrees) == (0.5, True)
    assert one([[1.0], [1.0, 2.0]], [[1.0], [1.0, 2.0]]).agrees
    assert not one([[1.0], [1.0, 2.0]], [[1.0], [1.0, 3.0]]).agrees


@pytest.mark.parametrize("values", [([[]], [[]]), ([[0.0, 0.0]], [[0.0, 1.0]])])
def test_where_there_is_no_angle_there_is_no_cosine(values):
    assert one(*values).cosine is None


@given(arrays.arrays(np.float32, TWO_ROWS, elements=FLOATS), st.sampled_from(list(NanPolicy)))
def test_an_answer_agrees_with_itself_and_reads_back_as_it_was(array, policy):
    outputs = read(to_json({"y": array}, policy))

    (found,) = differences(outputs, outputs, tolerance=0.0)

    assert np.array_equal(outputs["y"].astype(np.float32), array)
    assert found.agrees
    assert (found.max_abs, found.equal_share) == (0.0, 1.0)
    assert found.cosine is None or found.cosine == pytest.approx(1.0)
    assert found.top1_agreement in (None, 1.0)


@given(st.data(), TWO_ROWS)
def test_numbers_of_a_comparison_do_not_depend_on_who_is_the_reference(data, shape):
    wide = st.floats(allow_nan=False, allow_infinity=False)
    a, b = (data.draw(arrays.arrays(np.float64, shape, elements=wide)) for _ in range(2))

    (one_way,), (other_way,) = differences({"y": a}, {"y": b}), differences({"y": b}, {"y": a})

    assert one_way == other_way
    assert one_way.cosine is None or -1.0 <= one_way.cosine <= 1.0
