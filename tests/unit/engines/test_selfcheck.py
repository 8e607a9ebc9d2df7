"""The self-check notices an engine that answers otherwise."""

import numpy as np
import pytest

from inference.engines import hooks, selfcheck
from inference.errors import EngineLoadFailed

INPUTS = {"x": np.array([[1.0, 2.0]], np.float32)}
OUTPUTS = {"y": np.array([[2.0, 4.0]], np.float32), "label": np.array([1], np.int64)}


class Fixed:
    provider = "cpu"
    inputs = outputs = ()

    def __init__(self, **outputs):
        self.answers = {**OUTPUTS, **outputs}

    def run(self, inputs):
        self.got = inputs
        return {name: array for name, array in self.answers.items() if array is not None}

    def close(self): ...


def check(engine):
    return selfcheck.check(engine, hooks.compile(None), selfcheck.seal(INPUTS, OUTPUTS))


def test_what_was_sealed_comes_back():
    inputs, outputs = selfcheck.unseal(selfcheck.seal(INPUTS, OUTPUTS))

    assert inputs["x"].tolist() == [[1.0, 2.0]]
    assert outputs["label"].tolist() == [1]


def test_an_engine_that_answers_as_before_passes_and_hands_back_its_input():
    engine = Fixed(y=np.array([[2.0001, 4.0]], np.float32))

    fed = check(engine)

    assert fed["x"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"y": np.array([[2.0, 4.5]], np.float32)}, "output 'y' is off by 0.5"),
        ({"y": np.array([[2.0, np.nan]], np.float32)}, "is finite in other places"),
        ({"y": np.array([[2.0, 4.0]], np.float64)}, "is float64"),
        ({"y": np.array([2.0], np.float32)}, r"\[1\] instead of float32 \[1, 2\]"),
        ({"label": np.array([2], np.int64)}, "output 'label' differs"),
        ({"label": None}, "output 'label' is missing"),
    ],
)
def test_an_engine_that_answers_otherwise_does_not_start(changed, sentence):
    with pytest.raises(EngineLoadFailed, match=sentence):
        check(Fixed(**changed))


def test_a_gpu_may_round_otherwise():
    engine = Fixed(y=np.array([[2.0, 4.05]], np.float32))
    engine.provider = "cuda"

    check(engine)
    with pytest.raises(EngineLoadFailed):
        check(Fixed(y=engine.answers["y"]))
