"""Processing steps: what they do, what they promise of shapes, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from inference.engines import hooks
from inference.errors import EngineFailed, InvalidField, InvalidTensor
from inference.tensors import TensorSpec


def spec(name, dtype, *shape):
    return TensorSpec(name=name, dtype=dtype, shape=(None, *shape))


def before(steps, **tensors):
    return hooks.compile(
        {"preprocess": {"inputs": [{"name": "x", "dtype": "uint8", "shape": [None, None]}], "steps": steps}}
    ).before(tensors)


def after(steps, **tensors):
    return hooks.compile({"postprocess": steps}).after(tensors)


def png(height, width, colour=(255, 0, 0), kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind)
    return np.frombuffer(file.getvalue(), np.uint8)


X = np.array([[0, 4, 8], [16, 2, 2]], np.uint8)

CALCULATIONS = [
    ({"do": "cast", "tensor": "x", "dtype": "int64"}, X.astype(np.int64)),
    ({"do": "scale", "tensor": "x", "by": 0.5, "offset": -1}, X.astype(np.float32) * 0.5 - 1),
    ({"do": "scale", "tensor": "x"}, X.astype(np.float32)),
    ({"do": "normalise", "tensor": "x", "mean": [2], "std": [4]}, (X.astype(np.float32) - 2) / 4),
    (
        {"do": "normalise", "tensor": "x", "mean": [0, 4, 8], "std": [1, 2, 4]},
        ((X.astype(np.float32) - [0, 4, 8]) / [1, 2, 4]).astype(np.float32),
    ),
    ({"do": "reshape", "tensor": "x", "shape": [3, 1]}, X.reshape(2, 3, 1)),
    ({"do": "reshape", "tensor": "x", "shape": [-1]}, X),
    ({"do": "flatten", "tensor": "x"}, X),
    ({"do": "transpose", "tensor": "x", "axes": [1]}, X),
    ({"do": "softmax", "tensor": "x"}, np.exp(X - 16.0) / np.exp(X - 16.0).sum(-1, keepdims=True)),
    ({"do": "sigmoid", "tensor": "x"}, 1 / (1 + np.exp(-X.astype(np.float64)))),
]


@pytest.mark.parametrize(
    ("step", "wanted"), CALCULATIONS, ids=lambda value: value["do"] if isinstance(value, dict) else ""
)
def test_a_step_calculates_and_foretells_the_form_of_its_answer(step, wanted):
    compiled = hooks.compile({"postprocess": [step]})

    got = compiled.after({"x": X})["x"]
    _, outputs = hooks.outer(compiled, [spec("x", "uint8", 3)], [spec("x", "uint8", 3)])

    assert np.allclose(got, wanted, atol=1e-6)
    assert outputs[0].dtype == got.dtype.name
    assert outputs[0].shape == (None, *got.shape[1:])


def test_argmax_labels_and_top_k_say_what_was_found():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32)

    got = after(
        [
            {"do": "argmax", "tensor": "p", "to": "index"},
            {"do": "labels", "tensor": "index", "to": "name", "labels": ["cat", "dog"]},
            {"do": "top_k", "tensor": "p", "k": 2, "labels": ["cat", "dog", "cow"]},
            {"do": "select", "tensors": ["name", "p_top_scores", "p_top_indices", "p_top_labels"]},
        ],
        p=scores,
    )

    assert list(got) == ["name", "p_top_scores", "p_top_indices", "p_top_labels"]
    assert got["name"].tolist() == ["dog", "cat"]
    assert got["p_top_indices"].tolist() == [[1, 2], [0, 2]]
    assert got["p_top_scores"].tolist() == [pytest.approx([0.7, 0.2]), pytest.approx([0.5, 0.3])]
    assert got["p_top_labels"].tolist() == [["dog", "cow"], ["cat", "cow"]]


def test_an_index_without_a_label_gives_its_number():
    got = after([{"do": "labels", "tensor": "i", "to": "name", "labels": ["a"]}], i=np.array([0, 1, -1]))

    assert got["name"].tolist() == ["a", "1", "-1"]


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 0), ("JPEG", 3)])
def test_an_encoded_image_becomes_pixels_of_the_wanted_size(kind, tolerance):
    file = png(5, 9, kind=kind)

    got = before([{"do": "image", "tensor": "x", "height": 4, "width": 6}], x=np.stack([file]))

    assert got["x"].shape == (1, 3, 4, 6)
    assert got["x"].dtype == np.uint8
    assert np.abs(got["x"][0].astype(int) - np.array([255, 0, 0])[:, None, None]).max() <= tolerance


def test_images_of_different_length_share_a_job_when_filled_up_with_zeros():
    files = [png(5, 9), png(64, 64, (0, 255, 0))]
    longest = max(map(len, files))
    together = np.stack([np.pad(file, (0, longest - len(file))) for file in files])

    got = before([{"do": "image", "tensor": "x", "height": 2, "width": 2, "layout": "hwc"}], x=together)

    assert got["x"][:, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0]]


def test_a_grey_image_has_one_channel():
    got = before([{"do": "image", "tensor": "x", "height": 2, "width": 2, "channels": 1}], x=np.stack([png(2, 2)]))

    assert got["x"].tolist() == [[[[76, 76], [76, 76]]]]


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", png(4, 4).tobytes()[:-30], b"\0" * 50])
def test_what_is_no_image_is_refused_and_says_so(content):
    with pytest.raises(InvalidTensor, match="'x' does not hold the bytes of a readable PNG or JPEG"):
        before([{"do": "image", "tensor": "x", "height": 2, "width": 2}], x=np.frombuffer(content, np.uint8)[None])


def test_text_becomes_padded_ids_with_their_mask():
    texts = np.zeros((2, 5), np.uint8)
    texts[0, :2] = list(b"ab")
    texts[1] = list("zü".encode() + b"xx")[:5]

    got = before([{"do": "text", "tensor": "x", "length": 4, "offset": 1, "pad": -1, "mask": "m"}], x=texts)

    assert got["x"].tolist() == [[98, 99, -1, -1], [123, 0xC3 + 1, 0xBC + 1, 121]]
    assert got["m"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_text_with_a_vocabulary_is_cut_at_white_space():
    step = {"do": "text", "tensor": "x", "length": 3, "vocabulary": {"the": 5, "cat": 6}, "unknown": 1}

    got = before([step], x=np.frombuffer(b"The  cat sat", np.uint8)[None])

    assert got["x"].tolist() == [[5, 6, 1]]


def test_bytes_that_are_no_utf_8_are_refused():
    with pytest.raises(InvalidTensor, match="UTF-8"):
        before([{"do": "text", "tensor": "x", "length": 3}], x=np.array([[0xFF, 0xFE]], np.uint8))


def test_the_outer_signature_is_what_clients_see():
    compiled = hooks.compile(
        {
            "preprocess": {
                "inputs": [{"name": "image", "dtype": "uint8", "shape": [None, 8, 8]}],
                "steps": [
                    {"do": "scale", "tensor": "image", "by": 0.0625},
                    {"do": "flatten", "tensor": "image"},
                    {"do": "rename", "tensor": "image", "to": "input"},
                ],
            },
            "postprocess": [{"do": "argmax", "tensor": "p", "to": "digit"}],
        }
    )

    inputs, outputs = hooks.outer(compiled, [spec("input", "float32", 64)], [spec("p", "float32", 10)])

    assert inputs == (spec("image", "uint8", 8, 8),)
    assert outputs == (spec("p", "float32", 10), spec("digit", "int64"))
    assert compiled.ragged == frozenset()


def test_without_hooks_clients_see_the_engine_with_an_open_batch_axis():
    fixed = TensorSpec(name="x", dtype="float32", shape=(4, 3))

    inputs, outputs = hooks.outer(hooks.compile(None), [fixed], [fixed])

    assert inputs == outputs == (spec("x", "float32", 3),)


def test_encoded_inputs_are_ragged_and_bring_an_example():
    compiled = hooks.compile(
        {
            "preprocess": {
                "inputs": [{"name": "x", "dtype": "uint8", "shape": [None, None]}],
                "steps": [{"do": "image", "tensor": "x", "height": 4, "width": 4}],
            }
        }
    )

    example = hooks.examples(compiled, np.random.default_rng(0))
    inputs, _ = hooks.outer(compiled, [spec("x", "uint8", 3, 4, 4)], [])

    assert compiled.ragged == {"x"}
    assert inputs[0].is_ragged
    assert compiled.before({"x": example["x"][None]})["x"].shape == (1, 3, 4, 4)


def test_encoded_inputs_are_ragged_under_the_name_that_clients_use():
    compiled = hooks.compile(
        {
            "preprocess": {
                "inputs": [{"name": "photo", "dtype": "uint8", "shape": [None, None]}],
                "steps": [
                    {"do": "rename", "tensor": "photo", "to": "a"},
                    {"do": "rename", "tensor": "a", "to": "b"},
                    {"do": "image", "tensor": "b", "height": 4, "width": 4},
                ],
            }
        }
    )

    inputs, _ = hooks.outer(compiled, [spec("b", "uint8", 3, 4, 4)], [])

    assert compiled.ragged == {"photo"}
    assert [(one.name, one.is_ragged) for one in inputs] == [("photo", True)]


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"preprocess": 3}, "preprocess must hold a list"),
        ({"preprocess": {"step": []}}, "has no key 'step'; known: inputs, steps"),
        ({"preprocess": ["scale"]}, "step 1 must be an object"),
        ({"preprocess": [{"do": "exec", "code": "1"}]}, "step 1 cannot do 'exec'; known: cast,"),
        ({"preprocess": [{"do": ["scale"]}]}, "step 1 cannot do"),
        ({"preprocess": [{"do": "softmax", "tensor": "x"}]}, "cannot do 'softmax'"),
        ({"postprocess": [{"do": "image", "tensor": "x"}]}, "cannot do 'image'"),
        (
            {"preprocess": [{"do": "scale", "tensor": "x", "bye": 1}]},
            "step 1 (scale) is wrong: Object contains unknown field `bye`",
        ),
        ({"preprocess": [{"do": "scale", "tensor": "x", "by": "2"}]}, "Expected `float`, got `str`"),
        ({"preprocess": [{"do": "scale", "by": 2}]}, "missing required field `tensor`"),
        ({"preprocess": [{"do": "image", "tensor": "x", "height": 0, "width": 1}]}, ">= 1"),
        ({"preprocess": [{"do": "image", "tensor": "x", "height": 1, "width": 1}]}, "needs 'inputs'"),
        ({"preprocess": {"inputs": []}}, "must be a list of objects with name, dtype and shape"),
        ({"preprocess": {"inputs": [{"name": "x", "dtype": "str", "shape": [None]}]}}, "dtype 'str'"),
        ({"preprocess": {"inputs": [{"name": "x", "dtype": "int8", "shape": [1, 2]}]}}, "begins with null"),
        ({"preprocess": {"inputs": [{"name": "x", "dtype": "int8", "shape": [None, -2]}]}}, ">= 1"),
        ({"preprocess": {"inputs": [{"name": "x", "dtype": "int8", "shape": [None]}] * 2}}, "names one input twice"),
        ({"preprocess": [{"do": "flatten", "tensor": "x"}] * 65}, "at most 64 steps"),
    ],
)
def test_a_step_that_makes_no_sense_is_named_in_one_sentence(declared, sentence):
    with pytest.raises(InvalidField) as caught:
        hooks.compile(declared)

    assert sentence in caught.value.message
    assert caught.value.message.startswith("deployment_config.")
    assert "\n" not in caught.value.message


IMAGE = {"name": "image", "dtype": "uint8", "shape": [None, 8, 8]}


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"preprocess": {"inputs": [IMAGE]}}, "gives 'image', and the model takes 'x'"),
        (
            {"preprocess": [{"do": "cast", "tensor": "x", "dtype": "int8"}]},
            "gives 'x' as int8 [null, 4], and the model takes float32 [null, 4]",
        ),
        ({"preprocess": [{"do": "reshape", "tensor": "x", "shape": [2, 2]}]}, "gives 'x' as float32 [null, 2, 2]"),
        (
            {"preprocess": [{"do": "reshape", "tensor": "x", "shape": [3]}]},
            "step 1 (reshape) does not fit: rows of shape [4]",
        ),
        ({"preprocess": [{"do": "cast", "tensor": "z", "dtype": "int8"}]}, "there is no tensor 'z'; here are: x"),
        ({"preprocess": [{"do": "transpose", "tensor": "x", "axes": [0]}]}, "axes must hold each of [1] once"),
        ({"preprocess": [{"do": "normalise", "tensor": "x", "mean": [1, 2], "std": [1, 2]}]}, "each of the 4 entries"),
        ({"preprocess": [{"do": "normalise", "tensor": "x", "mean": [1], "std": [0]}]}, "nor hold 0"),
        ({"postprocess": [{"do": "top_k", "tensor": "y", "k": 9}]}, "k is 9, and the last axis has 3 entries"),
        ({"postprocess": [{"do": "softmax", "tensor": "y", "axis": 0}]}, "no axis 0 beside its batch axis"),
        ({"postprocess": [{"do": "labels", "tensor": "y", "to": "n", "labels": ["a"]}]}, "labels need whole numbers"),
        ({"postprocess": [{"do": "select", "tensors": ["q"]}]}, "there is no tensor 'q'"),
        ({"postprocess": [{"do": "rename", "tensor": "q", "to": "r"}]}, "there is no tensor 'q'"),
        ({"postprocess": [{"do": "cast", "tensor": "y", "dtype": "text"}]}, "'text' is not a dtype"),
        ({"postprocess": [{"do": "top_k", "tensor": "q", "k": 1}]}, "there is no tensor 'q'"),
        ({"postprocess": [{"do": "reshape", "tensor": "y", "shape": [-1, -1]}]}, "and -1 once"),
        (
            {
                "postprocess": [
                    {"do": "argmax", "tensor": "y", "to": "i"},
                    {"do": "labels", "tensor": "i", "to": "n", "labels": ["a"]},
                    {"do": "scale", "tensor": "n"},
                ]
            },
            "step 3 (scale) does not fit: 'n' holds text; this step needs numbers",
        ),
        (
            {"postprocess": [{"do": "argmax", "tensor": "y", "to": "i"}, {"do": "rename", "tensor": "i", "to": "y"}]},
            "there is a tensor 'y' already",
        ),
        (
            {"preprocess": {"inputs": [IMAGE], "steps": [{"do": "text", "tensor": "image", "length": 4}]}},
            "must be declared as uint8 of shape [null, null]: rows of bytes",
        ),
        (
            {
                "preprocess": {
                    "inputs": [{"name": "x", "dtype": "uint8", "shape": [None, None]}],
                    "steps": [{"do": "text", "tensor": "x", "length": 4, "mask": "x"}],
                }
            },
            "there is a tensor 'x' already",
        ),
    ],
)
def test_steps_that_do_not_fit_the_model_are_named_in_one_sentence(declared, sentence):
    with pytest.raises(InvalidField) as caught:
        hooks.outer(hooks.compile(declared), [spec("x", "float32", 4)], [spec("y", "float32", 3)])

    assert sentence in caught.value.message


def test_a_step_that_fails_on_values_is_an_engine_failure_not_a_crash():
    with pytest.raises(EngineFailed, match="A processing step failed"):
        after([{"do": "reshape", "tensor": "x", "shape": [7]}], x=X)


def test_a_label_or_a_text_foretells_its_form_too():
    compiled = hooks.compile(
        {
            "preprocess": {
                "inputs": [{"name": "x", "dtype": "uint8", "shape": [None, None]}],
                "steps": [{"do": "text", "tensor": "x", "length": 4, "mask": "m", "vocabulary": {"hello": 3}}],
            },
            "postprocess": [{"do": "top_k", "tensor": "y", "k": 2, "labels": ["a"]}],
        }
    )

    inputs, outputs = hooks.outer(compiled, [spec("x", "int64", 4), spec("m", "int64", 4)], [spec("y", "float32", 3)])
    example = hooks.examples(compiled, np.random.default_rng(0))["x"]

    assert inputs[0].is_ragged
    assert example.tobytes() == b"hello"
    assert [(one.name, one.dtype, one.shape) for one in outputs] == [
        ("y", "float32", (None, 3)),
        ("y_top_scores", "float32", (None, 2)),
        ("y_top_indices", "int64", (None, 2)),
        ("y_top_labels", "str", (None, 2)),
    ]


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr("inference.engines.steps_media.PIXEL_LIMIT", 10)

    with pytest.raises(InvalidTensor, match="has 4 x 4 pixels; the limit is 10"):
        before([{"do": "image", "tensor": "x", "height": 2, "width": 2}], x=np.stack([png(4, 4)]))
