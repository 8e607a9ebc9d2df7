"""The trial run of a new model, on engines that are plain Python."""

import numpy as np
import pytest

from inference.engines import hooks, selfcheck
from inference.errors import EngineFailed, InvalidField, ModelInvalid, OutOfMemory
from inference.registry import trial
from inference.tensors import TensorSpec


class Model:
    """An engine made of a function of x."""

    provider = "cpu"

    def __init__(self, function, shape=(None, 3), dtype="float32", output=(None, 3)):
        self.inputs = (TensorSpec(name="x", dtype=dtype, shape=shape),)
        self.outputs = (TensorSpec(name="y", dtype="float32", shape=output),)
        self._function = function
        self.seen = []

    def run(self, inputs):
        self.seen.append(inputs["x"])
        return {"y": np.asarray(self._function(inputs["x"]), np.float32)}

    def close(self): ...


def run(model, golden=None, steps=None):
    return trial.run(model, hooks.compile(steps), golden or {})


def test_the_golden_pair_is_what_the_engine_answered():
    found = run(Model(lambda x: x * 2))

    inputs, outputs = selfcheck.unseal(found.golden)
    assert inputs["x"].shape == (2, 3)
    assert np.array_equal(outputs["y"], inputs["x"] * 2)
    assert found.signature.inputs == found.signature.engine_inputs
    assert found.signature.joins


def test_the_same_model_gets_the_same_golden_input():
    assert run(Model(lambda x: x)).golden == run(Model(lambda x: x)).golden


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.mean(axis=0),  # each row's answer depends on its neighbours
        lambda x: x.sum(axis=0, keepdims=True),  # one row whatever comes
        lambda x: x.sum(),
    ],
)
def test_a_model_whose_rows_are_not_independent_does_not_join(function):
    assert not run(Model(function)).signature.joins


def test_a_model_that_takes_only_one_row_is_tried_with_one_and_does_not_join():
    def only_one(x):
        if len(x) != 1:
            raise EngineFailed("one row, please")
        return x

    found = run(Model(only_one))

    assert not found.signature.joins
    assert selfcheck.unseal(found.golden)[0]["x"].shape == (1, 3)


def test_a_model_that_never_answers_the_same_twice_has_no_golden_output():
    rng = np.random.default_rng()

    found = run(Model(lambda x: rng.random(x.shape)))

    assert selfcheck.unseal(found.golden)[1] == {}
    assert found.signature.joins


def test_open_lengths_are_guessed_until_the_model_agrees():
    def at_least_100(x):
        if x.shape[1] < 100:
            raise EngineFailed("too short")
        return x[:, :3]

    found = run(Model(at_least_100, shape=(None, None)))

    assert selfcheck.unseal(found.golden)[0]["x"].shape == (2, 224)


def test_whole_numbers_that_the_model_refuses_become_zeros():
    def zeros_only(x):
        if x.any():
            raise EngineFailed("index out of bounds")
        return x

    found = run(Model(zeros_only, dtype="int64"))

    assert not selfcheck.unseal(found.golden)[0]["x"].any()


@pytest.mark.parametrize(
    ("golden", "shape"),
    [
        ({"x": [[1, 2, 3]]}, (1, 3)),
        ({"x": [1, 2, 3]}, (1, 3)),
        ({"x": {"data": [[1, 2, 3]] * 4}}, (4, 3)),
        ({"x": {"shape": [1, 3]}}, (2, 3)),
    ],
)
def test_a_golden_input_may_be_given(golden, shape):
    found = run(Model(lambda x: x), golden)

    assert selfcheck.unseal(found.golden)[0]["x"].shape == shape


@pytest.mark.parametrize(
    ("golden", "sentence"),
    [
        ({"z": [1]}, "golden.z names no input; the inputs are x"),
        ({"x": [[1, 2]]}, r"has shape \[1, 2\], and the input is \[None, 3\]"),
        ({"x": ["a", "b", "c"]}, "does not hold float32 numbers"),
        ({"x": {"shape": [1, 4]}}, r"has shape \[1, 4\]"),
        ({"x": {"shape": "big"}}, "must hold 'data', or a 'shape'"),
        ({"x": {}}, "must hold 'data', or a 'shape'"),
    ],
)
def test_a_golden_input_that_does_not_fit_is_named(golden, sentence):
    with pytest.raises(InvalidField, match=sentence):
        run(Model(lambda x: x), golden)


def test_a_model_that_refuses_everything_says_why_and_what_to_do():
    def no(x):
        raise EngineFailed("The engine refused this input: bad node.")

    with pytest.raises(
        ModelInvalid, match=r"bad node\. If it needs a real input, give one as deployment_config.golden"
    ):
        run(Model(no))


def test_memory_that_runs_out_is_not_tried_again():
    def no(x):
        raise OutOfMemory("too much")

    model = Model(no)

    with pytest.raises(OutOfMemory):
        run(model)
    assert len(model.seen) == 1


def test_an_output_of_nothing_but_nan_is_refused():
    with pytest.raises(ModelInvalid, match="nothing but NaN or infinity"):
        run(Model(lambda x: x * np.nan))


def test_the_trial_goes_through_the_hooks():
    steps = {
        "preprocess": {
            "inputs": [{"name": "photo", "dtype": "uint8", "shape": [None, None]}],
            "steps": [
                {"do": "image", "tensor": "photo", "height": 2, "width": 2, "channels": 1},
                {"do": "scale", "tensor": "photo", "by": 0.00392156862745098},
                {"do": "rename", "tensor": "photo", "to": "x"},
            ],
        },
        "postprocess": [{"do": "flatten", "tensor": "y"}, {"do": "argmax", "tensor": "y", "to": "best"}],
    }

    found = run(Model(lambda x: x, shape=(None, 1, 2, 2), output=(None, 1, 2, 2)), steps=steps)

    assert [spec.name for spec in found.signature.inputs] == ["photo"]
    assert [(spec.name, spec.shape) for spec in found.signature.outputs] == [("y", (None, 4)), ("best", (None,))]
    assert selfcheck.unseal(found.golden)[0]["photo"][0, :4].tobytes() == b"\x89PNG"
