"""What a task may bring, and how each refusal reads."""

import base64
import io

import numpy as np
import pytest

from inference.errors import DuplicateKey, Invalid, InvalidTensor, JsonTooDeep, MalformedJson
from inference.jobs.inputs import parse, parse_file
from inference.tensors import TensorSpec, unpack

X = TensorSpec(name="x", dtype="float32", shape=(None, 2))
IDS = TensorSpec(name="ids", dtype="int64", shape=(None, None))
IMAGE = TensorSpec(name="image", dtype="uint8", shape=(None, 2, 2))
FLAG = TensorSpec(name="flag", dtype="bool", shape=(None, 2))


def b64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        (X, '{"x": [[1.5, 2.0], [3.0, 4.0]]}', [[1.5, 2.0], [3.0, 4.0]]),
        (X, '{"x": [1.5, 2.0]}', [[1.5, 2.0]]),
        (X, '{"x": [1, 2]}', [[1, 2]]),
        (X, '{"x": {"data": [1, 2, 3, 4], "dtype": "float32", "shape": [2, 2]}}', [[1, 2], [3, 4]]),
        (X, '{"x": {"data": [[1, 2]], "dtype": "int8", "shape": [2]}}', [[1, 2]]),
        (IMAGE, '{"image": [[0, 255], [1, 2]]}', [[[0, 255], [1, 2]]]),
        (IDS, '{"ids": [[5, 6, 7]]}', [[5, 6, 7]]),
        (FLAG, '{"flag": [true, false]}', [[True, False]]),
        (FLAG, '{"flag": {"b64": "AQA=", "dtype": "bool", "shape": [2]}}', [[True, False]]),
    ],
)
def test_every_form_of_a_tensor_is_read(spec, text, expected):
    payload, rows, _ = parse(text.encode(), inputs=(spec,))

    array = unpack(payload)[spec.name]
    assert array.dtype == spec.dtype
    assert array.tolist() == expected
    assert rows == len(expected)


def test_base64_is_read_as_little_endian_c_order():
    came = np.array([[1.5, -2.0], [3.0, 4.0]], dtype="<f4")
    text = f'{{"x": {{"b64": "{b64(came)}", "dtype": "float32", "shape": [2, 2]}}}}'

    payload, rows, _ = parse(text.encode(), inputs=(X,))

    assert unpack(payload)["x"].tolist() == came.tolist()
    assert rows == 2


@pytest.mark.parametrize(
    ("specs", "text", "says"),
    [
        ((X,), "{}", "Tensor `x` is missing; this model takes `x` (float32 [batch, 2])."),
        ((X,), '{"x": [1, 2], "y": 1}', "The model has no tensor `y`"),
        ((X,), "[1, 2]", "`input_data` must be an object that maps tensor names to values, not a list"),
        ((X,), '"x"', "not a text"),
        ((X,), '{"x": [1, 2, 3]}', "came as shape [3]; expected float32 [batch, 2]"),
        ((X,), '{"x": [[[1, 2]]]}', "came as shape [1, 1, 2]"),
        ((X,), '{"x": [[1, 2], [3]]}', "is ragged: its lists differ in length; expected float32 [batch, 2]"),
        ((X,), '{"x": []}', "shape [0]"),
        ((X,), '{"x": [[]]}', "shape [1, 0]"),
        ((IDS,), '{"ids": [[]]}', "is empty"),
        ((X,), '{"x": ["1", "2"]}', "holds a text"),
        ((X,), '{"x": [1, "2"]}', "holds a text"),
        ((X,), '{"x": "12"}', "holds a text"),
        ((X,), '{"x": [null, 2]}', "holds null"),
        ((X,), '{"x": [{"a": 1}, 2]}', "holds an object"),
        ((X,), '{"x": [true, false]}', "holds a boolean"),
        ((X,), '{"x": [true, 1.0]}', "holds a boolean"),
        ((X,), '{"x": {"data": [true, 1], "dtype": "float32", "shape": [2]}}', "holds a boolean"),
        ((FLAG,), '{"flag": [1, 0]}', "holds int64 values; expected bool [batch, 2]"),
        ((FLAG,), '{"flag": [true, 1]}', "holds int64 values"),
        ((IMAGE,), '{"image": [[0, 256], [1, 2]]}', "holds 256, which does not fit uint8 (0 to 255)"),
        ((IMAGE,), '{"image": [[0, -1], [1, 2]]}', "holds -1, which does not fit"),
        ((IMAGE,), '{"image": [[0, 1.5], [1, 2]]}', "holds float64 values; expected uint8"),
        ((IDS,), '{"ids": [[18446744073709551616]]}', "a number too large"),
        ((IDS,), '{"ids": [[9223372036854775808]]}', "does not fit int64"),
        ((X,), '{"x": [1e300, 1]}', "too large for float32"),
        ((X,), '{"x": {"data": [1, 2], "dtype": "float32"}}', "has the fields data, dtype"),
        ((X,), '{"x": {}}', "has the fields nothing"),
        ((X,), '{"x": {"data": [1, 2], "dtype": "complex", "shape": [2]}}', "has the dtype 'complex'"),
        ((X,), '{"x": {"data": [1, 2], "dtype": 3, "shape": [2]}}', "has the dtype 3"),
        ((X,), '{"x": {"data": [1, 2], "dtype": "float32", "shape": [-2]}}', "`shape` that is no short list"),
        ((X,), '{"x": {"data": [1, 2], "dtype": "float32", "shape": [true]}}', "`shape` that is no short list"),
        (
            (X,),
            '{"x": {"data": [], "dtype": "float32", "shape": [0, 99999999999999999999]}}',
            "`shape` that is no short list",
        ),
        (
            (X,),
            '{"x": {"b64": "", "dtype": "float32", "shape": [' + "9999999, " * 9999 + "1]}}",
            "that is no short list",
        ),
        ((X,), '{"x": {"data": [1, 2], "dtype": "float32", "shape": [3]}}', "says shape [3] and brings 2 values"),
        ((X,), '{"x": {"b64": "AAAA", "dtype": "float32", "shape": [2]}}', "which is 8 bytes, and its `b64` holds 3"),
        ((X,), '{"x": {"b64": "%%", "dtype": "float32", "shape": [2]}}', "`b64` that is not base64"),
        ((X,), '{"x": {"b64": 5, "dtype": "float32", "shape": [2]}}', "`b64` that is not base64"),
        ((FLAG,), '{"flag": {"b64": "AQI=", "dtype": "bool", "shape": [2]}}', "not all 0 or 1"),
        ((X, IDS), '{"x": [[1, 2], [3, 4]], "ids": [[1]]}', "brings 1 rows and tensor `x` brings 2"),
    ],
)
def test_a_wrong_tensor_is_refused_in_one_sentence(specs, text, says):
    with pytest.raises(InvalidTensor) as refusal:
        parse(text.encode(), inputs=specs)

    assert says in refusal.value.message
    assert refusal.value.message.endswith(".")
    assert refusal.value.details["expected"]
    assert "got" in refusal.value.details


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"x": [NaN, 1]}', MalformedJson),
        ('{"x": [Infinity, 1]}', MalformedJson),
        ('{"x": [1, 2}', MalformedJson),
        ("", MalformedJson),
        ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", JsonTooDeep),
        ('{"x": ' + "[" * 200 + "]" * 200 + "}", JsonTooDeep),
        ('{"x": ' + "[" * 200 + "1" + "]" * 200 + "}", JsonTooDeep),
        ('{"x": [1, 2], "x": [3, 4]}', DuplicateKey),
        ('{"x" : [1, 2], "x" : [3, 4]}', DuplicateKey),
        ('{"x": {"data": [1, 2], "dtype": "float32", "shape": [2], "shape": [1]}}', DuplicateKey),
    ],
)
def test_text_that_cannot_be_trusted_is_refused(text, error):
    with pytest.raises(error):
        parse(text.encode(), inputs=(X,))


def test_text_that_is_not_utf8_is_refused():
    with pytest.raises(MalformedJson, match="UTF-8"):
        parse(b'{"\xff": [1, 2]}', inputs=(X,))


def test_a_number_of_ten_thousand_digits_is_refused():
    with pytest.raises(Invalid, match="out of range"):
        parse(b'{"x": [1, ' + b"9" * 10_000 + b"]}", inputs=(X,))


def test_a_colon_in_a_name_is_no_repeated_key():
    spec = TensorSpec(name='a":b', dtype="float32", shape=(None, 1))

    payload, rows, _ = parse(rb'{"a\":b": [[1.0]]}', inputs=(spec,))

    assert unpack(payload)['a":b'].tolist() == [[1.0]]
    assert rows == 1


def test_the_bucket_tells_the_dynamic_shapes_apart():
    def bucket(text: str) -> str:
        return parse(text.encode(), inputs=(X, IDS))[2]

    three = bucket('{"x": [1, 2], "ids": [1, 2, 3]}')
    again = bucket('{"ids": [[4, 5, 6], [7, 8, 9]], "x": [[1, 2], [3, 4]]}')
    four = bucket('{"x": [1, 2], "ids": [1, 2, 3, 4]}')

    assert (three, again, four) == ("3", "3", "4")
    assert parse(b'{"x": [1, 2]}', inputs=(X,))[2] == ""


def test_more_rows_than_a_fixed_batch_axis_are_refused():
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 2))

    assert parse(b'{"x": [1, 2]}', inputs=(spec,))[1] == 1
    with pytest.raises(InvalidTensor, match="at most 1"):
        parse(b'{"x": [[1, 2], [3, 4]]}', inputs=(spec,))


def test_an_npz_file_brings_one_array_per_tensor():
    file = io.BytesIO()
    np.savez(file, x=np.array([[1.0, 2.0]], dtype=">f8"))

    payload, rows, _ = parse_file(file.getvalue(), inputs=(X,))

    assert unpack(payload)["x"].tolist() == [[1.0, 2.0]]
    assert rows == 1


@pytest.mark.parametrize("content", [b"PK\x03\x04 not a zip", b"PK"])
def test_a_broken_npz_is_refused(content):
    with pytest.raises(InvalidTensor, match="npz"):
        parse_file(content, inputs=(X,))


def test_an_npz_with_pickled_objects_is_refused():
    file = io.BytesIO()
    np.savez(file, x=np.array([{"a": 1}], dtype=object))

    with pytest.raises(InvalidTensor, match="npz"):
        parse_file(file.getvalue(), inputs=(X,))


def test_an_uploaded_json_file_is_read_like_an_inline_input():
    assert parse_file(b'{"x": [1, 2]}', inputs=(X,)) == parse(b'{"x": [1, 2]}', inputs=(X,))


@pytest.mark.parametrize("content", [b"%PDF-1.7 \xda", b"\xda\xff", b"", b'{"x": [1, 2]'])
def test_a_file_of_no_known_form_is_said_to_be_that_and_not_a_bad_body(content):
    with pytest.raises(InvalidTensor, match=r"^The input is no \.npz, no \.npy and no JSON: "):
        parse_file(content, inputs=(X,))
